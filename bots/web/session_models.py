"""Bodies and answers about sessions of the page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from bots.web.bodies import Body
from bots.web.models import Address, User


class SignInBody(Body):
    """The code of a sign-in link: what stands behind its ``#``."""

    code: Annotated[str, Field(min_length=1, max_length=200)]
    attempt: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_-]*$")] = ""
    """A random secret of the page: when the answer is lost, the same code and attempt may be sent
    again for a minute."""


class LanguageBody(Body):
    """The language of IT0's own words; empty: what the browser or the platform says."""

    language: Literal["en", "zh", ""]


class SignInLinkBody(Body):
    """A link for oneself, or, as an admin, for somebody of the team."""

    email: Address | None = None


class SignInLink(BaseModel):
    """A link that signs its bearer in as ``email``, once; it is shown once."""

    url: str
    email: str
    expires_in_s: int


class TeamName(BaseModel):
    """A team."""

    id: str
    name: str


class Features(BaseModel):
    """What this installation has."""

    billing: bool


class Limits(BaseModel):
    """Of one message."""

    files: int
    bytes: int
    """Of all files together."""
    chars: int


class Current(BaseModel):
    """The session of the request itself."""

    id: str
    expires_at: datetime
    """When it ends if nobody uses it."""


class Me(BaseModel):
    """Who is signed in; for nobody there is null instead of anything about the installation."""

    user: User | None
    team: TeamName | None
    operator_team: bool
    """Whether it is the team of whoever runs this installation."""
    language: Literal["en", "zh", ""]
    """The user's own choice; empty when they made none."""
    version: str | None
    features: Features | None
    limits: Limits | None
    session: Current | None
    """Null where a token was sent."""


class SessionInfo(BaseModel):
    """A browser that is signed in."""

    id: str
    current: bool
    created_at: datetime
    seen_at: datetime
    """To the minute."""
    expires_at: datetime
    """When it ends if nobody uses it."""
    browser: str
    """Such as "Firefox on Linux"; empty when it did not tell."""


class Sessions(BaseModel):
    """The most recently used first."""

    sessions: list[SessionInfo]
