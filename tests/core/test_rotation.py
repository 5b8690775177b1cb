"""The changing half of a session's cookie, under every order of two tabs, losses and a thief."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from core.rotation import (
    OFFER_AGAIN_MS,
    ROTATE_MS,
    SETTLED_MS,
    Rotation,
    Verdict,
    digest,
    new_secret,
)

LATE_MS = 60_000
"""No request is under way for longer."""


@dataclass
class Server:
    """What the store does with a request, on a clock of the test's."""

    state: Rotation
    ended: bool = False
    made: int = 0

    def request(self, token: str, now: int) -> tuple[bool, str | None]:
        """Whether the token is taken, and the token that the answer offers."""
        if self.ended:
            return False, None
        match self.state.judge(token):
            case Verdict.COPIED:
                self.ended = True
                return False, None
            case Verdict.FIRST_SEEN:
                self.state = self.state.seen(now)
            case Verdict.GOOD:
                self.state = self.state.used(token, now)
        if not self.state.due(token, now):
            return True, None
        self.made += 1
        offered = f"t{self.made}"
        self.state = self.state.offer(offered, now)
        return True, offered


@dataclass
class Flight:
    """An answer that is on its way."""

    offered: str | None
    sent_at: int


class Tabs(RuleBasedStateMachine):
    """Tabs of one browser share a jar; answers may be late by seconds, or be lost."""

    @initialize()
    def sign_in(self) -> None:
        """A session begins."""
        self.now = 0
        self.server = Server(Rotation(current="t0", rotated_at=0))
        self.jar = "t0"
        self.flights: list[Flight] = []

    @rule(pause=st.sampled_from([1, 30_000, ROTATE_MS // 2, ROTATE_MS, 9 * ROTATE_MS]))
    def wait(self, pause: int) -> None:
        """Nobody does anything; answers that are under way arrive first."""
        if pause > LATE_MS // 2:
            while self.flights:
                self.arrives(0)
        self.now += pause

    @rule(lost=st.booleans())
    def ask(self, lost: bool) -> None:
        """A tab sends a request: the browser's own cookie is always taken."""
        taken, offered = self.server.request(self.jar, self.now)
        assert taken, "a browser was signed out though nobody copied its cookie"
        if not lost:
            self.flights.append(Flight(offered, self.now))

    @precondition(lambda self: self.flights)
    @rule(which=st.integers(min_value=0, max_value=20))
    def arrives(self, which: int) -> None:
        """An answer arrives, in any order."""
        flight = self.flights.pop(which % len(self.flights))
        if flight.offered is not None:
            self.jar = flight.offered

    @rule()
    def straggler(self) -> None:
        """A request that was sent with the cookie before arrives within the grace."""
        before = self.server.state.previous
        if before is not None and self.now - self.server.state.rotated_at <= LATE_MS:
            assert self.server.request(before, self.now)[0]


TestTabs = Tabs.TestCase
TestTabs.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@dataclass
class Party:
    """A holder of the cookie: the browser, or whoever copied it."""

    token: str
    taken: list[int] = field(default_factory=list)


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(min_value=1, max_value=3 * ROTATE_MS)),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_a_thief_and_the_owner_do_not_both_stay(steps: list[tuple[bool, int]]) -> None:
    """Once a token was replaced, whoever still holds the old one ends the session for both."""
    server = Server(Rotation(current="t0", rotated_at=0))
    owner, thief = Party("t0"), Party("t0")
    now = 0
    for is_thief, pause in steps:
        now += pause
        party = thief if is_thief else owner
        taken, offered = server.request(party.token, now)
        if taken:
            party.taken.append(now)
            party.token = offered or party.token
    now += OFFER_AGAIN_MS + ROTATE_MS
    for _ in range(3):  # both go on for some hours
        for party in (owner, thief):
            now += ROTATE_MS + 1
            _, offered = server.request(party.token, now)
            party.token = offered or party.token
    assert server.ended


def test_a_token_is_replaced_after_an_hour_and_not_before() -> None:
    """The offer waits for its age; an offer is not repeated within ten minutes."""
    fresh = Rotation(current="a", rotated_at=1000)
    assert not fresh.due("a", 1000 + ROTATE_MS - 1)
    assert fresh.due("a", 1000 + ROTATE_MS)
    offered = fresh.offer("b", 1000 + ROTATE_MS)
    assert not offered.due("a", 1000 + ROTATE_MS + OFFER_AGAIN_MS - 1)
    assert offered.due("a", 1000 + ROTATE_MS + OFFER_AGAIN_MS)


def test_the_token_before_is_good_until_its_successor_settles() -> None:
    """A successor that is seen some minutes after its first use is on disk: what is older is a copy."""
    seen = Rotation(current="a", rotated_at=0).offer("b", 5).seen(1000)
    assert (seen.current, seen.previous, seen.offered) == ("b", "a", None)
    early = seen.used("b", 999 + SETTLED_MS)
    assert early.judge("a") is Verdict.GOOD
    settled = seen.used("b", 1000 + SETTLED_MS)
    assert settled.judge("a") is Verdict.COPIED
    assert settled.judge("b") is Verdict.GOOD
    assert seen.judge("never") is Verdict.COPIED


def test_a_browser_that_lost_its_newest_cookie_goes_on() -> None:
    """Killed before the new cookie was on disk: the old one works, and is replaced in its turn."""
    killed = Rotation(current="a", rotated_at=0).offer("b", 5).seen(1000)
    for pause in (2000, SETTLED_MS, ROTATE_MS - 1):
        assert killed.judge("a") is Verdict.GOOD
        assert killed.used("a", 1000 + pause) == killed
    revived = killed.used("a", 1000 + ROTATE_MS)
    assert revived.judge("a") is Verdict.GOOD
    assert revived.due("a", 1000 + ROTATE_MS)
    assert revived.judge("b") is Verdict.COPIED, "of two that go on, one has a copy"


def test_a_clock_that_was_ahead_holds_nothing_up() -> None:
    """What was written in the future counts as long past."""
    ahead = Rotation(current="a", rotated_at=10 * ROTATE_MS, previous="z")
    assert ahead.due("a", 5)
    assert ahead.used("a", 5).judge("z") is Verdict.COPIED
    assert ahead.offer("b", 10 * ROTATE_MS).due("a", 5)


def test_nothing_offered_is_nothing_seen() -> None:
    """A state cannot skip a step."""
    with pytest.raises(ValueError, match="nothing was offered"):
        Rotation(current="a", rotated_at=0).seen(1)


def test_secrets_are_long_and_their_own() -> None:
    """256 bits each, of which a hash is kept that tells nothing."""
    made = {new_secret() for _ in range(50)}
    assert {len(secret) for secret in made} == {43}
    assert len({digest(secret) for secret in made}) == 50
    assert all(secret not in digest(secret) for secret in made)
