"""May this request be served, and at what price at most? Everything before a node is dialled.

    key -> body judged -> model -> room for one more -> node chosen -> hold reserved -> Exchange

Each refusal is an ApiError, raised before anything was spent: it uses up no quota. Nothing waits
here; what must be looked up (a new key, a deposit, an exact token count) is raised as `Pending`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, TypeVar, cast

import msgspec

from gateway import errors
from gateway.admission.catalogue import Catalogue, Model
from gateway.admission.ids import Ids
from gateway.admission.keyring import Caller, Keyring
from gateway.admission.stickiness import sticky_key
from gateway.admission.till import Till
from gateway.admission.waking import Waking
from gateway.errors import ApiError
from gateway.exchange.exchange import Exchange
from gateway.exchange.failover import Failover
from gateway.exchange.sample import Sample
from gateway.exchange.told_limits import Headers, limit_headers, unlike
from gateway.openai.request import Endpoint, Question, read
from gateway.routing.preferences import price_at_node, wanting
from gateway.routing.prompt_blocks import features_of
from gateway.timeouts import Timeouts
from metering.charge import OpenCharge
from metering.keys import ApiKey
from metering.ledger import LedgerError
from metering.limits import KeyPools, LimitKind, Limits, Shortage
from metering.money import PPM, format_usd
from metering.prices import hold_nano_usd
from metering.purse import FREE, Draw
from router.router import Router
from router.types import Decision, RequestFeatures

T = TypeVar("T")
Known = Mapping[str, object]
"""What was looked up for this request so far."""


class Pending(Exception):  # noqa: N818 (it is not an error, it asks for a moment)
    """Something must be looked up off the event loop before the request can be judged."""

    def __init__(self, what: str, look_up: Callable[[], Awaitable[object]]) -> None:
        super().__init__(what)
        self.what = what
        self.look_up = look_up


async def settled(judge: Callable[[Known], T]) -> T:
    """What `judge` returns once it has what it needs, or has asked for it often enough.

    Raises ApiError, also (429) while the ledger cannot be asked.
    """
    known: dict[str, object] = {}
    while True:
        try:
            return judge(known)
        except Pending as pending:
            try:
                known[pending.what] = await pending.look_up()
            except LedgerError:
                raise errors.limits_unknown() from None


class Admission:
    """Judges requests."""

    def __init__(
        self,
        *,
        keyring: Keyring,
        catalogue: Catalogue,
        till: Till,
        router: Router,
        ids: Ids,
        monotonic_ns: Callable[[], int],
        timeouts: Timeouts,
        failover: Failover,
        body_bytes_max: int,
        open_requests_max: int,
        sample: Callable[[str], Sample | None],
        tool_sample: Callable[[], Sample],
        waking: Waking,
    ) -> None:
        """`sample` keeps an answer to be counted again, `tool_sample` one with tools to judge."""
        self.body_bytes_max = body_bytes_max
        self.draining = False
        """Told to stop; what clients ask until the port closes is served."""
        self.closed = False  # the port is: what is open finishes, nothing new begins
        self._keyring = keyring
        self._catalogue = catalogue
        self._till = till
        self._router = router
        self._ids = ids
        self.new_request_id = ids.request_id
        self._monotonic_ns = monotonic_ns
        self._timeouts = timeouts
        self._failover = failover
        self._open_requests_max = open_requests_max
        self._sample = sample
        self._tool_sample = tool_sample
        self.waking = waking
        self._refusing = False
        """The last choice found no room, so that there may be none at all."""

    def authenticate(self, headers: Mapping[bytes, bytes], known: Known) -> ApiKey:
        """The key that the Authorization header holds. Raises ApiError (401), Pending."""
        value = headers.get(b"authorization", b"")
        scheme, _, secret = value.partition(b" ")
        secret = secret.strip()
        if not secret or scheme.lower() != b"bearer":
            raise errors.missing_key()
        key = self._keyring.find(hashlib.sha256(secret).digest())
        if key is None and "keys" not in known:
            raise Pending("keys", self._keyring.reload)
        if key is None or key.revoked_ns is not None:
            raise errors.bad_key()
        if key.expires_ns is not None and key.expires_ns <= self._ids.now_ns():
            raise errors.key_expired(key.key_id, key.expires_ns)
        return key

    def caller(self, authorization: bytes, last: Caller | None, known: Known) -> Caller:
        """Whose key this is; the same as `last` as long as nothing has changed, and it takes no
        hashing to say so. Raises ApiError (401), Pending.
        """
        if (
            last is not None
            and last.authorization == authorization
            and last.keys is self._keyring.keys
            and last.key.expires_ns is None
        ):
            return last
        key = self.authenticate({b"authorization": authorization}, known)
        return Caller(authorization, key, self._keyring.keys)

    def check_overload(self, key: ApiKey) -> None:
        """Refuse what nobody could take whatever it asks, before it is read.

        Raises ApiError (429).
        """
        if not self._refusing:
            return
        if not self._router.is_full or self.waking.any_asleep:
            self._refusing = False
            return
        only = self._catalogue.only
        error = errors.no_capacity("any model" if only is None else only.id, 0)
        error.model = None if only is None else only.id
        error.more_headers = self.limit_headers(key)
        raise error

    def admit(
        self,
        request_id: str,
        key: ApiKey,
        endpoint: Endpoint,
        body: bytes,
        known: Known,
        session_id: str = "",
        *,
        batch: bool = False,
    ) -> Exchange:
        """An exchange ready to start, its highest possible cost reserved, `batch` at its price.
        `session_id` is the header's. Raises ApiError (400, 402, 403, 404, 429), Pending.
        """
        limits, model = self._till.limits_of(key.key_id, key.limits), None
        try:
            question, model = self._asked(key, endpoint, body)
            return self._admit_to(
                model, request_id, key, limits, question, body, known, batch, session_id
            )
        except ApiError as error:
            if model is not None:
                error.model = model.id
            if limits is not None:
                more = limit_headers(limits, self._monotonic_ns())
                error.more_headers += unlike(error.more_headers, more)
            raise

    def limit_headers(self, key: ApiKey) -> Headers:
        """Where the key stands with its limits."""
        limits = self._till.limits_of(key.key_id, key.limits)
        return () if limits is None else limit_headers(limits, self._monotonic_ns())

    def _admit_to(
        self,
        model: Model,
        request_id: str,
        key: ApiKey,
        limits: KeyPools | None,
        question: Question,
        body: bytes,
        known: Known,
        batch: bool,
        session_id: str,
    ) -> Exchange:
        question.batch = batch
        if question.endpoint not in model.config.kinds:
            raise errors.unsupported_endpoint(question.model, question.endpoint.path)
        sticky = sticky_key(key.account, question, session_id)
        features = features_of(question, model.context_tokens_max, sticky, request_id, self._router)
        created_ns = self._ids.now_ns()
        price = model.batch_price_at(created_ns) if batch else model.price_at(created_ns)
        if (provider := question.request.provider) is not None:
            features = wanting(features, provider, price)
        prompt_tokens, completion_tokens = features.prompt_tokens, features.completion_tokens_max
        if self.closed or not self._till.has_room(self._open_requests_max):
            raise self._no_room()
        now_ns = self._monotonic_ns()
        decision = self._choose(features, key, now_ns)  # first: to count tokens is dear
        context = model.context_tokens_max
        if prompt_tokens >= context or (question.completion_tokens_max or 0) > context:
            self._check_context(question, model, known)
        if (node := decision.node) is not None and node.price_ppm != PPM:
            price = price_at_node(price, node.price_ppm)
        hold = hold_nano_usd(
            price, prompt_tokens_max=prompt_tokens, completion_tokens_max=completion_tokens
        )
        tokens = prompt_tokens + completion_tokens
        charge = OpenCharge(
            charge_id=self._ids.charge_id(created_ns),
            request_id=request_id,
            account=key.account,
            key_id=key.key_id,
            model=question.model,
            price=price,
            hold_nano_usd=hold,
            prompt_tokens_estimate=prompt_tokens,
            created_ns=created_ns,
            draws=self._draws(key, model, hold, tokens, created_ns),
        )
        if model.free_tokens_per_day is not None:
            charge = self._offer_free(charge, key.limits, limits, tokens, now_ns, model, known)
        if charge.price is not FREE:
            shortage = self._till.reserve(charge, limits, tokens, now_ns)
            if shortage is not None:
                self._find_more(shortage, charge, key.limits, tokens, known)
        sample = None if node is None else self._sample(node.node_id)
        if sample is None and question.offers_tools:
            sample = self._tool_sample()
        return (Exchange if node is not None else self.waking.exchange)(
            charge,
            question,
            body,
            decision,
            self._router,
            self._timeouts,
            model.estimate,
            sample,
            limits,
            self._failover,
        )

    def _choose(self, features: RequestFeatures, key: ApiKey, now_ns: int) -> Decision:
        """No node in it: the request waits for one. Raises ApiError (404, 429)."""
        decision = self._router.choose(features, now_ns)
        if decision.node is None:
            self._refusing = True
            self.waking.check(decision, key)
        return decision

    def _asked(self, key: ApiKey, endpoint: Endpoint, body: bytes) -> tuple[Question, Model]:
        """What is asked of which model, if this key may ask it. Raises ApiError (400, 403, 404)."""
        if key.suspended:
            raise errors.account_suspended(key.account)
        question = read(endpoint, body, lenient=key.allows_unknown_parameters)
        if key.models is not None and question.model not in key.models:
            raise errors.model_not_allowed(question.model, key.models)
        model = self._catalogue.get(question.model)
        if model is None:
            raise errors.unknown_model(question.model)
        question.account = key.account
        if key.usage_always:
            question.usage_always = question.tells_usage = True
        question.reasoning_alias = model.config.reasoning_content_alias
        return question, model

    def _check_context(self, question: Question, model: Model, known: Known) -> None:
        """Refuse what certainly exceeds the context. Counting is dear: only asked for a request
        that could exceed it.
        """
        context = model.context_tokens_max
        asked = question.completion_tokens_max
        if asked is not None and asked > context:
            found = f"you requested {asked} tokens for the completion"
            raise errors.context_too_long(context, found, question.completion_param)
        texts = question.prompt_texts()
        if model.counter is None or not texts:
            return
        if "tokens" not in known:
            raise Pending("tokens", lambda: model.count(texts))
        count = cast(int, known["tokens"])
        if count > context:
            param = question.endpoint.prompt_param
            found = f"your {param} resulted in at least {count} tokens"
            raise errors.context_too_long(context, found, param)

    def _no_room(self) -> ApiError:
        if self.closed:
            message = "The gateway is shutting down. Please retry; another instance will answer."
            return errors.overloaded(message, retry_after_s=1, code="draining")
        if not self._till.recording:
            return errors.not_recording()
        message = f"The gateway has {self._open_requests_max} requests open, its most."
        return errors.overloaded(message, retry_after_s=1)

    def _draws(
        self, key: ApiKey, model: Model, hold: int, tokens: int, now_ns: int
    ) -> tuple[Draw, ...]:
        """What a request takes at most of caps and of its model's daily quota."""
        capped = key.spend_cap_nano_usd is not None or key.parent_key_id is not None
        draws = self._caps(key, hold, now_ns) if capped else ()
        if model.quota is not None and key.account not in model.quota.exempt:
            purse = self._till.purses.quota(key.account, model.quota, now_ns)
            draws += (Draw(purse.name, tokens),)
        return draws

    def _caps(self, key: ApiKey, hold: int, now_ns: int) -> tuple[Draw, ...]:
        """What a request takes at most of the caps of its key and of the one that made that."""
        bound = [key]
        if key.parent_key_id is not None:
            parent = self._keyring.by_id(key.parent_key_id)
            if parent is None:
                raise errors.bad_key()
            bound.append(parent)
        cap = self._till.purses.cap
        return tuple(
            Draw(cap(each.key_id, limit, each.spend_cycle, now_ns).name, hold)
            for each in bound
            if (limit := each.spend_cap_nano_usd) is not None
        )

    def _offer_free(
        self,
        paid: OpenCharge,
        own: Limits,
        limits: KeyPools | None,
        tokens: int,
        now_ns: int,
        model: Model,
        known: Known,
    ) -> OpenCharge:
        """The same charge at no price, its tokens set aside of the account's free ones; itself,
        with nothing set aside, if there are too few. Raises Pending, ApiError.
        """
        assert model.free_tokens_per_day is not None
        purse = self._till.purses.free(
            paid.account, model.id, model.free_tokens_per_day, paid.created_ns
        )
        if tokens > purse.limit:
            return paid
        quota = tuple(draw for draw in paid.draws if draw.in_tokens)
        charge = msgspec.structs.replace(
            paid, price=FREE, hold_nano_usd=0, draws=(Draw(purse.name, tokens), *quota)
        )
        shortage = self._till.reserve(charge, limits, tokens, now_ns)
        if shortage is None:
            return charge
        if shortage.kind is not LimitKind.FREE_TOKENS:
            self._find_more(shortage, charge, own, tokens, known)
        source = self._till.source
        if "free" not in known and source.worth_asking(shortage, charge, own, tokens, 0):
            raise Pending("free", lambda: source.find(charge, own, tokens, 0))
        return paid

    def _find_more(
        self, shortage: Shortage, charge: OpenCharge, own: Limits, tokens: int, known: Known
    ) -> NoReturn:
        """Raises Pending while more may be found, then ApiError."""
        source, tries = self._till.source, cast(int, known.get("tries", 0))

        async def find() -> int:
            await source.find(charge, own, tokens, tries)
            return tries + 1

        if source.worth_asking(shortage, charge, own, tokens, tries):
            raise Pending("tries", find)
        of_money = shortage.kind in (LimitKind.CREDIT, LimitKind.CAP)
        never = shortage.asked > shortage.limit and not of_money
        if source.away and not never:
            raise errors.limits_unknown()
        if shortage.kind is LimitKind.CAP:
            raise errors.cap_reached(shortage, charge.created_ns)
        if shortage.kind is LimitKind.QUOTA:
            raise errors.quota_used(shortage, charge.model, charge.created_ns)
        if shortage.kind is not LimitKind.CREDIT:
            raise errors.rate_limited(shortage, charge.model, charge.key_id)
        raise errors.no_credit(
            f"Account '{charge.account}' has {format_usd(shortage.free)} USD left; "
            f"this request may cost up to {format_usd(shortage.asked)} USD, which is reserved "
            "before it runs and refunded down to what it cost. Add credit, or lower 'max_tokens'."
        )
