"""Purses: which one a moment belongs to, and that none is let go of too early or kept for ever."""

from __future__ import annotations

from metering.cycle import Cycle
from metering.purse import Draw, Quota, drawn, free_purse, is_purse
from metering.purses import KEPT_NS, Purses
from metering.usage import Usage

DAY_NS = 86_400_000_000_000
NOON_NS = 20_000 * DAY_NS + DAY_NS // 2


class Heard:
    def __init__(self):
        self.changed = []
        self.forgotten = []
        self.busy = set()
        self.purses = Purses(self.changed.append, self._forget)

    def _forget(self, name):
        if name in self.busy:
            return False
        self.forgotten.append(name)
        return True


def test_a_cap_is_one_purse_in_its_cycle_and_another_in_the_next():
    purses = Heard().purses
    today = purses.cap("key_1", 500, Cycle.DAILY, NOON_NS)
    assert (today.limit, today.from_ns, today.until_ns) == (500, 20_000 * DAY_NS, 20_001 * DAY_NS)
    assert purses.cap("key_1", 500, Cycle.DAILY, today.until_ns - 1) is today
    tomorrow = purses.cap("key_1", 500, Cycle.DAILY, today.until_ns)
    assert tomorrow.name != today.name
    assert purses.cap("key_1", 500, Cycle.DAILY, NOON_NS) == today  # a clock stepped back
    assert purses.get(today.name) == today
    assert purses.until_s(today.name) == 20_001 * 86_400


def test_a_cap_for_life_never_ends():
    purses = Heard().purses
    cap = purses.cap("key_1", 500, None, NOON_NS)
    assert purses.cap("key_1", 500, None, NOON_NS + 10_000 * DAY_NS) is cap
    assert purses.until_s(cap.name) == 0


def test_a_limit_that_was_changed_is_told_and_keeps_what_was_spent():
    heard = Heard()
    before = heard.purses.cap("key_1", 500, Cycle.DAILY, NOON_NS)
    assert heard.changed == []
    after = heard.purses.cap("key_1", 900, Cycle.DAILY, NOON_NS)
    assert (after.name, after.limit) == (before.name, 900)
    assert heard.changed == [before.name]


def test_what_is_over_is_let_go_of_unless_something_of_it_is_under_way():
    heard = Heard()
    caps = [heard.purses.cap(f"key_{i}", 500, Cycle.DAILY, NOON_NS) for i in range(3)]
    free = heard.purses.free("acme", "m", 100, NOON_NS)
    life = heard.purses.cap("key_life", 500, None, NOON_NS)
    heard.busy.add(caps[0].name)
    later_ns = caps[0].until_ns + KEPT_NS
    heard.purses.free("acme", "m", 100, later_ns - 1)
    assert heard.forgotten == []
    for i in range(4):
        heard.purses.cap("key_new", 500, Cycle.EIGHT_HOURS, later_ns + i * DAY_NS)
    assert set(heard.forgotten) >= {caps[1].name, caps[2].name, free.name}
    assert heard.purses.get(caps[1].name) is None
    assert heard.purses.get(caps[0].name) == caps[0]
    assert heard.purses.get(life.name) == life


def test_free_tokens_are_of_an_account_a_model_and_a_day():
    names = {
        free_purse(account, model, 10, now_ns).name
        for account in ("a", "b")
        for model in ("m", "m:free", "org/m")
        for now_ns in (NOON_NS, NOON_NS + DAY_NS)
    }
    assert len(names) == 12
    assert all(is_purse(name) for name in names)
    assert not is_purse("any.account-name_1")


def test_a_cap_is_drawn_in_money_and_free_tokens_in_tokens():
    usage = Usage(prompt_tokens=7, completion_tokens=5)
    cap, free = Draw("cap:key_1:life:0", 100), Draw("free:acme:0:m", 100)
    assert (drawn(cap, usage, 60), drawn(free, usage, 60)) == (60, 12)
    assert (drawn(cap, usage, 600), drawn(free, None, 0)) == (100, 0)
    assert drawn(Draw("free:acme:0:m", 10), usage, 0) == 10


def test_a_quota_is_one_purse_a_day_and_drawn_from_in_tokens():
    heard = Heard()
    chat = Quota(
        name="chat", category="chat", models=("m",), tokens_per_day=100, exempt=frozenset()
    )
    today = heard.purses.quota("acme", chat, NOON_NS)
    assert heard.purses.quota("acme", chat, today.until_ns - 1) is today
    assert (today.limit, today.from_ns, today.until_ns) == (100, 20_000 * DAY_NS, 20_001 * DAY_NS)
    free = heard.purses.free("acme", "chat", 100, NOON_NS)
    assert len({today.name, free.name, heard.purses.quota("b", chat, NOON_NS).name}) == 3
    assert is_purse(today.name)
    used = Usage(prompt_tokens=7, completion_tokens=5)
    assert drawn(Draw(today.name, 50), used, 9_000) == 12
    assert drawn(Draw(today.name, 50), None, 0) == 0
    tomorrow = heard.purses.quota("acme", chat, today.until_ns + KEPT_NS)
    assert today.name in heard.forgotten
    assert heard.purses.quota("acme", chat, today.until_ns + KEPT_NS) is tomorrow
