"""What the terminal says about a one-time code: who its sender becomes, and how to send it."""

from __future__ import annotations

from core.commands_people import how_to_send
from core.words import Words


def linking(code: str, whose: str) -> str:
    """Under ``it0 link``."""
    return _said(
        f"{code}   (15 minutes, one use)",
        f"Whoever sends this code to the bot is {whose} from then on. An admin who sends it in a "
        "Slack workspace or a Telegram group links that place to the team, too.",
        code,
    )


def inviting(code: str, email: str, role: str) -> str:
    """Under ``it0 user invite``."""
    return _said(
        f"{code}   (7 days, one use)",
        f"Whoever sends this code to the bot joins the team as {role}: pass it on to {email} "
        "privately.",
        code,
    )


def first(code: str, email: str) -> str:
    """On the first start, while nobody of a chat platform is known."""
    return _said(
        f"Nobody is linked yet. First code: {code}   (24 hours, one use)",
        f"Whoever sends it to the bot is {email}, an admin, from then on. `it0 link` makes "
        "another one.",
        code,
    )


def _said(heading: str, meaning: str, code: str) -> str:
    return f"{heading}\n{meaning}\n{how_to_send(code, Words())}"
