"""The circuit breaker: opens, pauses, probes, recovers."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from core.engines.breaker import Breaker, BreakerConfig, Breakers, BreakerState, Cause, Permit
from core.words import sentence

CONFIG = BreakerConfig(failures=2, window_s=100, pause_s=10, longest_pause_s=40)
DOWN = Cause(reason="unreachable", sentence="Down.", problem=sentence("It is down"))
KEY = Cause(reason="bad_key", sentence="Wrong key.", problem=sentence("The key is wrong"))


class Seconds:
    """A clock that stands still until it is set forward."""

    def __init__(self) -> None:
        """Begin at an arbitrary time, as monotonic clocks do."""
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Seconds:
    """The time."""
    return Seconds()


@pytest.fixture
def breaker(clock: Seconds) -> Breaker:
    """A closed circuit."""
    return Breaker(CONFIG, clock)


def permit_of(breaker: Breaker) -> Permit:
    """A permit, which must be given."""
    permit = breaker.admit()
    assert isinstance(permit, Permit)
    return permit


def fail(breaker: Breaker, times: int = 1, cause: Cause = DOWN) -> None:
    """Let admitted calls fail."""
    for _ in range(times):
        breaker.failed(permit_of(breaker), cause)


def stands(breaker: Breaker) -> BreakerState:
    """Where it stands now; a call, because the type checker takes a property for constant."""
    return breaker.state


def test_it_opens_after_failures_in_a_row_and_tells_the_last_cause(breaker: Breaker) -> None:
    """The second failure opens it; whoever is refused hears why."""
    fail(breaker)
    assert stands(breaker) is BreakerState.CLOSED
    fail(breaker, cause=KEY)
    assert stands(breaker) is BreakerState.OPEN
    assert breaker.admit() == KEY


def test_a_success_between_failures_keeps_it_closed(breaker: Breaker) -> None:
    """Only failures in a row count."""
    for _ in range(5):
        fail(breaker)
        breaker.succeeded(permit_of(breaker))
    assert stands(breaker) is BreakerState.CLOSED


def test_failures_far_apart_do_not_open_it(breaker: Breaker, clock: Seconds) -> None:
    """Two failures with the window between them are two accidents."""
    for _ in range(5):
        fail(breaker)
        clock.now += CONFIG.window_s
    assert stands(breaker) is BreakerState.CLOSED


def test_one_probe_at_a_time_passes_after_the_pause(breaker: Breaker, clock: Seconds) -> None:
    """The others are refused until the probe has an outcome; a good one closes the circuit."""
    fail(breaker, 2)
    clock.now += CONFIG.pause_s
    assert stands(breaker) is BreakerState.HALF_OPEN
    probe = permit_of(breaker)
    assert probe.probe
    assert breaker.admit() == DOWN
    breaker.succeeded(probe)
    assert stands(breaker) is BreakerState.CLOSED
    assert not permit_of(breaker).probe


def test_the_pause_doubles_up_to_its_cap_and_starts_anew(breaker: Breaker, clock: Seconds) -> None:
    """10, 20, 40, 40 seconds; after a recovery 10 again."""
    fail(breaker, 2)
    for pause in (10, 20, 40, 40):
        clock.now += pause - 1
        assert breaker.admit() == DOWN
        clock.now += 1
        fail(breaker)
    clock.now += 40
    breaker.succeeded(permit_of(breaker))
    fail(breaker, 2)
    clock.now += 10
    assert stands(breaker) is BreakerState.HALF_OPEN


def test_an_abandoned_probe_frees_its_place(breaker: Breaker, clock: Seconds) -> None:
    """A turn that was stopped tells nothing; the next one probes, without another pause."""
    fail(breaker, 2)
    clock.now += CONFIG.pause_s
    breaker.abandoned(permit_of(breaker))
    assert permit_of(breaker).probe


def test_outcomes_of_calls_from_before_count_no_more(breaker: Breaker, clock: Seconds) -> None:
    """What was admitted before the circuit opened neither closes it nor lengthens the pause."""
    early = [permit_of(breaker) for _ in range(3)]
    fail(breaker, 2)
    breaker.succeeded(early[0])
    breaker.failed(early[1], KEY)
    assert breaker.admit() == DOWN
    clock.now += CONFIG.pause_s
    probe = permit_of(breaker)
    breaker.abandoned(early[2])
    assert breaker.admit() == DOWN
    breaker.succeeded(probe)
    breaker.failed(probe, DOWN)
    breaker.failed(early[0], DOWN)
    assert stands(breaker) is BreakerState.CLOSED
    fail(breaker)
    assert stands(breaker) is BreakerState.CLOSED


def test_each_engine_and_account_has_its_own_circuit(clock: Seconds) -> None:
    """One account's failures say nothing about another's."""
    breakers = Breakers(CONFIG, clock)
    fail(breakers.of("claude_api", "a"), 2)
    assert breakers.of("claude_api", "a").state is BreakerState.OPEN
    assert breakers.of("claude_api", "b").state is BreakerState.CLOSED
    assert breakers.of("claude_agent_sdk", "a").state is BreakerState.CLOSED


def test_the_number_of_circuits_is_bounded(clock: Seconds) -> None:
    """The least recently used one is forgotten; one that is in use is not."""
    breakers = Breakers(CONFIG, clock, most=3)
    fail(breakers.of("e", "used"), 2)
    for number in range(10):
        breakers.of("e", str(number))
        breakers.of("e", "used")
    assert len(breakers) == 3
    assert breakers.of("e", "used").state is BreakerState.OPEN


class BreakerMachine(RuleBasedStateMachine):
    """Any interleaving of turns; the clock stands still unless a rule moves it."""

    permits = Bundle("permits")

    def __init__(self) -> None:
        """Start closed."""
        super().__init__()
        self.clock = Seconds()
        self.breaker = Breaker(CONFIG, self.clock)
        self.probes: list[Permit] = []
        """Given and without an outcome."""
        self.row = 0
        """Failures since the last success, an upper bound of what counts."""

    @rule(target=permits)
    def admit(self) -> Permit | None:
        """A turn begins."""
        state = self.breaker.state
        answer = self.breaker.admit()
        if not isinstance(answer, Permit):
            assert state is not BreakerState.CLOSED
            assert state is BreakerState.OPEN or self.probes
            return None
        assert state is not BreakerState.OPEN
        assert answer.probe == (state is BreakerState.HALF_OPEN)
        if answer.probe:
            assert not self.probes
            self.probes.append(answer)
        return answer

    @rule(permit=consumes(permits))
    def succeed(self, permit: Permit | None) -> None:
        """Its call ends well; only a probe closes a circuit."""
        if permit is None:
            return
        was = self.breaker.state
        self.breaker.succeeded(permit)
        self._ended(permit)
        if permit.probe:
            assert self.breaker.state is BreakerState.CLOSED
        else:
            assert self.breaker.state is was
        if was is BreakerState.CLOSED:
            self.row = 0

    @rule(permit=consumes(permits))
    def fail(self, permit: Permit | None) -> None:
        """Its call fails; a closed circuit opens only after enough failures in a row."""
        if permit is None:
            return
        was = self.breaker.state
        self.breaker.failed(permit, DOWN)
        self._ended(permit)
        self.row += 1
        if permit.probe:
            assert self.breaker.state is BreakerState.OPEN
        elif was is BreakerState.CLOSED and self.breaker.state is BreakerState.OPEN:
            assert self.row >= CONFIG.failures
            self.row = 0
        else:
            assert self.breaker.state is was

    @rule(permit=consumes(permits))
    def abandon(self, permit: Permit | None) -> None:
        """Its turn is stopped: nothing is learned."""
        if permit is None:
            return
        was = self.breaker.state
        self.breaker.abandoned(permit)
        self._ended(permit)
        assert self.breaker.state is was

    @rule(seconds=st.sampled_from([1, 9, 10, 40, 100]))
    def wait(self, seconds: int) -> None:
        """Time passes; it never opens a circuit."""
        was = self.breaker.state
        self.clock.now += seconds
        assert self.breaker.state is was or self.breaker.state is BreakerState.HALF_OPEN

    @invariant()
    def recovers_by_itself(self) -> None:
        """After the longest pause nothing but a running probe keeps a turn out."""
        now = self.clock.now
        self.clock.now += CONFIG.longest_pause_s
        assert self.breaker.state is not BreakerState.OPEN
        self.clock.now = now

    def _ended(self, permit: Permit) -> None:
        if permit.probe:
            self.probes.remove(permit)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
