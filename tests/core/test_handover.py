"""A handover as Markdown: complete, harmless, bounded."""

from __future__ import annotations

from core.handover import (
    MOST_CHARS,
    Action,
    Asked,
    Facts,
    OrderNews,
    Outcome,
    Pending,
    markdown,
)
from core.words import Words

AT = 1_795_000_000_000
ENGLISH = Words("en")


def facts(**told: object) -> Facts:
    """Of an hour."""
    made = {"since_ms": AT - 3_600_000, "until_ms": AT, **told}
    return Facts(**made)  # type: ignore[arg-type]  # the tests name the fields


def action(what: str, outcome: Outcome = Outcome.RAN, **more: object) -> Action:
    """Something that was done."""
    made = {"at_ms": AT, "who": "Bob", "what": what, "level": "L2", "outcome": outcome, **more}
    return Action(**made)  # type: ignore[arg-type]  # as above


def test_nothing_happened() -> None:
    """It says so, with the time it is about."""
    assert markdown(facts(), ENGLISH) == (
        "**Handover**: 2026-11-18 10:06 to 2026-11-18 11:06 (UTC)\n\n"
        "Nothing happened that you may see, and nothing is open."
    )


def test_what_is_open_comes_first() -> None:
    """Decisions, running questions, unknown outcomes; then changes; questions last."""
    text = markdown(
        facts(
            asked=(Asked(at_ms=AT, who="Bob", text="why?\nmore", answer="\n\nbecause\nmore"),),
            actions=(
                action("lost", Outcome.UNKNOWN, ms=5),
                action("ok", exit_status=0, ms=1500, servers="web-1", decided_by="Ann"),
                action("bad", Outcome.FAILED, exit_status=2),
                action("no", Outcome.DENIED, decided_by="Ann", why="not now"),
                action("late", Outcome.EXPIRED, decided_by="system"),
                action("never", Outcome.REFUSED, why="forbidden"),
            ),
            orders=(OrderNews(name="Disks", state="answered", times=3, last_ms=AT),),
            open=(Asked(at_ms=AT, who="Vi", text="still", answer=""),),
            pending=(
                Pending(
                    approval_id="appr_1",
                    what="reboot",
                    servers="web-9",
                    level="L2",
                    who="Bob",
                    expires_at_ms=AT,
                ),
            ),
            hidden=2,
            cut=True,
        ),
        ENGLISH,
    )
    at = "2026-11-18 11:06"
    hidden = "Not shown: 2 conversations that were held elsewhere."
    lines = [
        "**Waiting for a decision**",
        f"- `reboot` (L2), asked by Bob, until {at}: `/approve appr_1`, on web-9",
        "**Still being worked on**",
        f"- {at} Vi: still",
        "**Outcome unknown: look before anybody repeats it**",
        f"- {at} `lost` (L2), asked by Bob",
        "**Changed**",
        f"- {at} `ok` (L2), asked by Bob, approved by Ann, exit status 0, 1.5 s, on web-1",
        "**Failed**",
        f"- {at} `bad` (L2), asked by Bob, exit status 2",
        "**Not done**",
        f"- {at} `no` (L2), asked by Bob, denied by Ann (not now)",
        f"- {at} `late` (L2), asked by Bob, nobody decided in time",
        f"- {at} `never` (L2), asked by Bob, refused (forbidden)",
        "**Standing orders**",
        f"- Disks: ran, 3 times, last {at}",
        "**Asked and found**",
        f"- {at} Bob: why? → because",
        f"{hidden} There was more than fits here; ask for a shorter time.",
    ]
    assert [line for line in text.splitlines()[1:] if line] == lines


def test_one_is_told_as_one_and_a_timeout_as_nobody() -> None:
    """No "1 times", and no approver who is no person."""
    text = markdown(
        facts(
            actions=(action("ok", decided_by="system", by_timeout=True),),
            orders=(OrderNews(name="Disks", state="answered", times=1, last_ms=AT),),
            hidden=1,
        ),
        ENGLISH,
    )
    assert "`ok` (L2), asked by Bob, approved, because nobody decided in time" in text
    assert "- Disks: ran, 2026-11-18 11:06" in text
    assert "Not shown: one conversation that was held elsewhere." in text
    assert "system" not in text


def test_what_people_wrote_stays_text() -> None:
    """No markup, no second line, no hidden character, no secret comes through."""
    text = markdown(
        facts(
            asked=(
                Asked(
                    at_ms=AT,
                    who="**Ann**\n# x",
                    text="[here](http://evil) AKIAIOSFODNN7EXAMPLE",
                    answer="",
                ),
            ),
            actions=(action("rm -r `x`\nmkfs /dev/sda\u202e"),),
        ),
        ENGLISH,
    )
    assert "\\[here\\](http://evil)" in text
    assert "AKIAIOSFODNN7EXAMPLE" not in text
    assert "\\*\\*Ann\\*\\* \\# x" in text
    assert "\u202e" not in text
    assert "`rm -r \u02b9x\u02b9 ⏎ mkfs /dev/sda" in text
    assert "\n#" not in text


def test_it_is_bounded() -> None:
    """However much happened: what is left out is counted."""
    long = "x" * 5_000
    text = markdown(
        facts(
            asked=tuple(
                Asked(at_ms=AT, who="Bob", text=f"q{n} {long}", answer=long) for n in range(200)
            ),
            actions=tuple(action(f"{long}{n}", list(Outcome)[n % 6]) for n in range(200)),
        ),
        ENGLISH,
    )
    assert len(text) <= MOST_CHARS
    assert "more" in text
    few = markdown(
        facts(asked=tuple(Asked(at_ms=AT, who="B", text="q", answer="") for _ in range(23))),
        ENGLISH,
    )
    assert few.count("B: q") == 20
    assert "- and 3 more" in few
