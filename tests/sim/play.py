"""From a seed, the lives and deaths of one world; and one life cut off at its every step."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from memory_folder import Moment

from .disks import Disks, simulated
from .fuse import COMMITS, EVERY, SPOOL
from .vfs import Vfs
from .world import World

ACTIONS_MAX = 80
LIVES_MAX = 7
MOMENTS = tuple(Moment)
STEPS_MAX = 2_000
STEPS = {EVERY: (20, 150, 600), SPOOL: (8, 20, 40), COMMITS: (2, 5, 15)}
"""A life has about so many, by what is counted: few, some, many."""


class Played(msgspec.Struct):
    """What came of one seed, or of many."""

    worlds: int = 0
    lives: int = 0
    deaths: int = 0
    power_cuts: int = 0
    hiccups: int = 0
    killed_at: Counter[str] = msgspec.field(default_factory=Counter)
    replies: Counter[str] = msgspec.field(default_factory=Counter)
    states: set[str] = msgspec.field(default_factory=set)
    fingerprint: str = ""
    """Of every byte on the disks at every end, and of what came before."""

    def add(self, other: Played) -> None:
        for name in ("worlds", "lives", "deaths", "power_cuts", "hiccups"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.killed_at += other.killed_at
        self.replies += other.replies
        self.states |= other.states
        self.fingerprint = other.fingerprint

    def take(self, world: World) -> None:
        fuse = world.disks.fuse
        self.worlds += 1
        self.deaths += world.deaths
        self.hiccups += fuse.hiccups
        self.killed_at += fuse.killed_at
        self.replies += world.replies
        self.states |= world.states
        digest = hashlib.sha256(self.fingerprint.encode())
        for name, data in world.disks.contents():
            digest.update(name.encode())
            digest.update(data)
        self.fingerprint = digest.hexdigest()


class Player:
    """Plays seeds, one after the other."""

    def __init__(self, vfs: Vfs, folder: Path, new_ledger: dict[str, bytes]) -> None:
        self._vfs = vfs
        self._folder = folder
        self._new_ledger = new_ledger

    def world(self, seed: int) -> World:
        """One in eight begins without a ledger: making its tables is cut off too."""
        self._vfs.forget()
        files = {} if seed % 8 == 7 else self._new_ledger
        return World(seed, self._folder, Disks(self._vfs, seed, files))

    def play(self, seed: int) -> Played:
        """Raises AssertionError where the gateway did not do what it had to."""
        world, played = self.world(seed), Played()
        rng = world.rng
        for _ in range(rng.randrange(2, LIVES_MAX)):
            counted = rng.choice(tuple(STEPS))
            few, some, many = STEPS[counted]
            steps = rng.choice((None, rng.randrange(few), rng.randrange(some), rng.randrange(many)))
            hiccup_in = rng.randrange(200) if rng.random() < 0.3 else None
            world.disks.fuse.arm(steps, rng.choice(MOMENTS), counted=counted, hiccup_in=hiccup_in)
            actions = rng.choice((0, rng.randrange(ACTIONS_MAX), ACTIONS_MAX))
            world.live(actions, ends=rng.choice(("killed", "in order")))
            played.lives += 1
            if rng.random() < 0.4:
                world.disks.cut_power()
                played.power_cuts += 1
        self._finish(world, played)
        return played

    def sweep(self, seed: int) -> Iterator[Played]:
        """One life, again and again, ending one step later each time: in every way, with and
        without a power cut; and then its next start, which dies a little further each time too.
        """
        for steps in range(STEPS_MAX):
            died = False
            for moment, cut in itertools.product(MOMENTS, (False, True)):
                world, played = self.world(seed), Played()
                fuse = world.disks.fuse
                fuse.arm(steps, moment)
                world.live(ACTIONS_MAX, ends="in order")
                died = bool(fuse.killed_at)
                for again in (steps % 17, steps % 5):
                    if cut:
                        world.disks.cut_power()
                    fuse.arm(again, moment)
                    world.live(0, ends="killed")
                played.lives += 3
                played.power_cuts += 2 * cut
                self._finish(world, played)
                yield played
            if not died:
                return
        raise AssertionError(f"the life of seed {seed} has more than {STEPS_MAX} steps")

    def _finish(self, world: World, played: Played) -> None:
        world.disks.fuse.arm(None, Moment.BEFORE)
        world.live(10, ends="closed")
        world.disks.fuse.arm(None, Moment.BEFORE)
        world.live(0, ends="closed")
        world.audit()
        played.lives += 2
        played.take(world)


@contextlib.contextmanager
def player() -> Iterator[Player]:
    in_memory = Path("/dev/shm")  # the spool's lock is a real file, and made anew in each life
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as name:
        vfs, folder = Vfs(), Path(name)
        with simulated(vfs, folder) as new_ledger:
            yield Player(vfs, folder, new_ledger)
