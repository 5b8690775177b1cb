"""A circuit breaker: an account that keeps failing is left alone for a while.

Closed, calls pass. After ``failures`` failures in a row within ``window_s`` it opens and
refuses at once, for a pause that doubles up to a cap. Then it is half-open: one probe at a
time passes, and its outcome closes the circuit or opens it for a longer pause. Nobody has to
reset it. The states and names are those of Nygard, "Release It!".

Everything here is synchronous and asks no clock but the one it is given, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core.engine_choice import Outage
from core.words import Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """When a circuit opens and how long it stays open. Times are in seconds."""

    failures: int = 2
    """In a row; each is a whole turn's failure, after the engine's own retries."""
    window_s: float = 120
    """Failures further apart than this do not count together."""
    pause_s: float = 10
    """The first pause; it doubles with every probe that fails."""
    longest_pause_s: float = 120
    """How late a recovery may be noticed at most."""


class BreakerState(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a call failed."""

    reason: str
    """``EngineFailure.reason``: a static label."""
    sentence: str
    """What the user was told."""
    problem: Sentence
    """What is wrong, as the first half of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to make a call. Its outcome counts only while the circuit has not changed since."""

    generation: int
    probe: bool


class Breaker:
    """The circuit of one engine and one account."""

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        """``clock`` tells monotonic seconds."""
        self._config = config
        self._clock = clock
        self._failed_at: list[float] = []
        self._generation = 0
        self._probing = False
        self._open_until: float | None = None
        self._pause_s = config.pause_s
        self._cause: Cause | None = None

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._open_until is None:
            return BreakerState.CLOSED
        due = self._clock() >= self._open_until
        return BreakerState.HALF_OPEN if due else BreakerState.OPEN

    @property
    def cause(self) -> Cause | None:
        """Why the last call failed."""
        return self._cause

    @property
    def left_s(self) -> float:
        """Seconds until a probe may pass; 0 when it may now."""
        return 0 if self._open_until is None else max(0, self._open_until - self._clock())

    def admit(self) -> Permit | Cause:
        """Leave to call, or the cause of the last failure. End each permit in one outcome."""
        if self.state is BreakerState.CLOSED:
            return Permit(generation=self._generation, probe=False)
        if self.state is BreakerState.HALF_OPEN and not self._probing:
            self._probing = True
            return Permit(generation=self._generation, probe=True)
        assert self._cause is not None  # noqa: S101  # a failure opened it
        return self._cause

    def succeeded(self, permit: Permit) -> None:
        """The provider answered: failures before are forgotten, a probe closes the circuit."""
        if permit.generation != self._generation:
            return
        self._failed_at.clear()
        if permit.probe:
            self._open_until = None
            self._pause_s = self._config.pause_s
            self._change()

    def failed(self, permit: Permit, cause: Cause) -> None:
        """The provider did not answer."""
        if permit.generation != self._generation:
            return
        self._cause = cause
        now = self._clock()
        if permit.probe:
            self._pause_s = min(self._pause_s * 2, self._config.longest_pause_s)
            self._open(now)
            return
        window = self._config.window_s
        self._failed_at = [at for at in self._failed_at if now - at < window] + [now]
        if len(self._failed_at) >= self._config.failures:
            self._open(now)

    def abandoned(self, permit: Permit) -> None:
        """The call ended without a verdict, such as a turn that was stopped."""
        if permit.probe and permit.generation == self._generation:
            self._probing = False

    def _open(self, now: float) -> None:
        self._open_until = now + self._pause_s
        self._change()

    def _change(self) -> None:
        """Begin a new generation: the outcomes of permits given before no longer count."""
        self._generation += 1
        self._failed_at.clear()
        self._probing = False


class Breakers:
    """The circuits of one process, by engine and account; the least recently used go first."""

    def __init__(
        self, config: BreakerConfig, clock: Callable[[], float], *, most: int = 1_000
    ) -> None:
        """``most`` bounds how many circuits are kept; a forgotten one starts closed."""
        self._config = config
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Breaker] = OrderedDict()

    def of(self, engine: str, account: str) -> Breaker:
        """The circuit of this engine for this account."""
        key = (engine, account)
        breaker = self._kept.get(key)
        if breaker is None:
            breaker = self._kept[key] = Breaker(self._config, self._clock)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return breaker

    def outage(self, engine: str, account: str) -> Outage | None:
        """See ``core.engine_choice.Circuits``; the circuits of an account begin with its name."""
        open_now = [
            (breaker.left_s, breaker.cause.problem)
            for (name, circuit), breaker in self._kept.items()
            if name == engine and circuit.split("/", 1)[0] == account
            if breaker.state is BreakerState.OPEN and breaker.cause is not None
        ]
        if not open_now:
            return None
        left_s, problem = max(open_now)
        return Outage(problem=problem, left_s=left_s)

    def __len__(self) -> int:
        """How many circuits are kept."""
        return len(self._kept)
