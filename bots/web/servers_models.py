"""Bodies of the servers' requests and answers. A private key is only ever taken, never given."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from bots.web.bodies import Body, Integer, Query
from bots.web.requests import NO_NUL
from core.fleet.key_texts import MAX_KEY_CHARS
from core.fleet.registry import MAX_PATH_CHARS, MAX_PORT, MAX_TAG_CHARS, MAX_TAGS

_MOST_REVISION = 2**53
_MAX_NAME_CHARS = 63
_MAX_SELECTION_CHARS = 1_000

Name = Annotated[
    str, Field(min_length=1, max_length=_MAX_NAME_CHARS, pattern=NO_NUL, examples=["web-1"])
]
Address = Annotated[str, Field(min_length=1, max_length=260, pattern=NO_NUL)]
Port = Annotated[Integer, Field(ge=1, le=MAX_PORT)]
Login = Annotated[str, Field(max_length=64, pattern=NO_NUL)]
Tag = Annotated[str, Field(min_length=1, max_length=MAX_TAG_CHARS, pattern=NO_NUL)]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]
Kind = Literal["production", "staging", "development"]
Weight = Literal["low", "normal", "critical"]
Sudo = Literal["never", "ask", "allowed"]
Way = Literal["stored", "agent", "file"]
Jump = Annotated[
    str,
    Field(max_length=64, pattern=NO_NUL, description="Name or id of another server; empty: none."),
]
File = Annotated[str, Field(max_length=MAX_PATH_CHARS, pattern=NO_NUL)]
PrivateKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=NO_NUL,
        description="OpenSSH or PEM, without a passphrase. It is sealed and never shown again.",
    ),
]
HostKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=NO_NUL,
        description="As `ssh-keyscan` or `known_hosts` has it.",
    ),
]


def _no_default(schema: JsonDict) -> None:
    schema.pop("default", None)


_LeftOut = Field(json_schema_extra=_no_default)
"""May be left out, and is not null where it is not."""
_Secret = Field(json_schema_extra=_no_default, repr=False)
"""As above, and never in a log."""


class NewServerBody(Body):
    """A server. Without an identity: the private key if one is given, else the SSH agent."""

    name: Name
    address: Address
    port: Port = 22
    user: Login = ""
    tags: Tags = Field(default_factory=list)
    environment: Kind = "production"
    criticality: Weight = "normal"
    jump: Jump = ""
    identity: Annotated[Way | SkipJsonSchema[None], _LeftOut] = None
    identity_file: File = ""
    private_key: Annotated[PrivateKey | SkipJsonSchema[None], _Secret] = None
    host_key: Annotated[HostKey | SkipJsonSchema[None], _LeftOut] = None
    sudo: Sudo = "ask"


class ServerPatchBody(Body):
    """What to change; with ``revision`` only if nobody changed it meanwhile."""

    revision: Annotated[
        Annotated[Integer, Field(ge=0, le=_MOST_REVISION)] | SkipJsonSchema[None], _LeftOut
    ] = None
    name: Annotated[Name | SkipJsonSchema[None], _LeftOut] = None
    address: Annotated[Address | SkipJsonSchema[None], _LeftOut] = None
    port: Annotated[Port | SkipJsonSchema[None], _LeftOut] = None
    user: Annotated[Login | SkipJsonSchema[None], _LeftOut] = None
    tags: Annotated[Tags | SkipJsonSchema[None], _LeftOut] = None
    environment: Annotated[Kind | SkipJsonSchema[None], _LeftOut] = None
    criticality: Annotated[Weight | SkipJsonSchema[None], _LeftOut] = None
    jump: Annotated[Jump | SkipJsonSchema[None], _LeftOut] = None
    identity: Annotated[Way | SkipJsonSchema[None], _LeftOut] = None
    identity_file: Annotated[File | SkipJsonSchema[None], _LeftOut] = None
    private_key: Annotated[PrivateKey | SkipJsonSchema[None], _Secret] = None
    sudo: Annotated[Sudo | SkipJsonSchema[None], _LeftOut] = None


class HostKeyBody(Body):
    """The key that a human compared; ``replace`` for one instead of another."""

    host_key: HostKey
    replace: bool = False


class ServersQuery(Query):
    """Which of them."""

    select: Annotated[str, Field(max_length=_MAX_SELECTION_CHARS, pattern=NO_NUL)] = ""
    """A name, a tag, an environment, "all edge servers"; empty: all."""


class ServerInfo(BaseModel):
    """A server of the team, without any secret."""

    id: str
    name: str
    kind: Literal["local", "ssh"]
    address: str
    port: int
    user: str
    tags: list[str]
    environment: Kind
    criticality: Weight
    jump: str
    """The name of the server that it is reached through."""
    identity: Way
    identity_file: str
    key_fingerprint: str | None
    """Of the private key that is stored for it."""
    host_key: str
    host_key_fingerprint: str | None
    """Null: nobody confirmed its host key yet, and nothing runs there."""
    sudo: Sudo
    revision: int


class ServerList(BaseModel):
    """By name."""

    servers: list[ServerInfo]


class TrialInfo(BaseModel):
    """What a trial found."""

    host_key: str
    fingerprint: str
    confirmed: bool
    changed: bool
    reached: bool
    latency_ms: int | None
    user: str
    sudo: bool | None
    problem: str
