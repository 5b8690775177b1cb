"""Several servers with fake hosts, their tools, and what those keep."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.fleet.exact import READ_EXACT
from core.fleet.host import CommandResult, HostUnreachable, OnOutput
from core.fleet.inventory import Criticality, Environment, Server, ServerKind, SudoPolicy
from core.fleet.tools import fleet_tools
from core.protected import ProtectedPaths
from core.risk import Assessment, Level
from core.tenants import Role
from core.tools import Arguments, Tool, ToolContext, ToolResult, check_arguments
from tests.fakes.artifacts import KeptArtifacts
from tests.fakes.host import FakeFleet, FakeHost, said

TENANT = "ten_1"
PROTECTED = ProtectedPaths()
CONTEXT = ToolContext(tenant_id="ten_1", user_id="usr_1", turn_id="trn_1")


@dataclass
class FileHost(FakeHost):
    """A host that gives its files as they are, and says so when the account may not read one."""

    root_only: frozenset[str] = frozenset()
    links: dict[str, str] = field(default_factory=dict)

    async def shell(  # the port's signature
        self,
        command: str,
        *,
        timeout_s: float,
        max_bytes: int,
        sudo: bool = False,
        stdin: bytes = b"",
        keep_bytes: int = 0,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Answer the exact read from ``files``; whatever else from the recordings."""
        if not command.endswith(READ_EXACT):
            return await super().shell(
                command,
                timeout_s=timeout_s,
                max_bytes=max_bytes,
                sudo=sudo,
                stdin=stdin,
                keep_bytes=keep_bytes,
                on_output=on_output,
            )
        if self.unreachable:
            raise HostUnreachable(self.unreachable)
        path = shlex.split(command.splitlines()[0])[2]
        if path in self.root_only and not sudo:
            return said(status=4)
        real = self.links.get(path, path)
        if real not in self.files:
            return said(f"{real}\n", status=3)
        encoded = base64.encodebytes(self.files[real].encode()).decode()
        return said(f"{real}\n{encoded}")


@dataclass
class Site:
    """An inventory and a connector over named hosts of one tenant."""

    entries: tuple[Server, ...]
    hosts: dict[str, FakeHost]
    artifacts: KeptArtifacts = field(default_factory=KeptArtifacts)
    progress: list[str] = field(default_factory=list)
    tools: dict[str, Tool] = field(init=False)

    def __post_init__(self) -> None:
        """The tools over these servers."""
        tools = fleet_tools(self, self, PROTECTED, self.artifacts)
        self.tools = {tool.spec.name: tool for tool in tools}

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """The servers of the one tenant that has some."""
        return self.entries if tenant_id == TENANT else ()

    def connect(self, server: Server) -> FakeHost:
        """The host of that name."""
        return self.hosts[server.name]

    def context(self, call_id: str = "call_1") -> ToolContext:
        """An operator's call."""
        return ToolContext(
            tenant_id=TENANT,
            user_id="usr_1",
            turn_id="trn_1",
            role=Role.OPERATOR,
            call_id=call_id,
            progress=self.progress.append,
        )

    async def assess(self, tool: str, **arguments: str | int) -> Assessment:
        """What the door would be told."""
        return await self.tools[tool].assess(self.context(), self.checked(tool, arguments))

    async def call(self, tool: str, **arguments: str | int) -> ToolResult:
        """Assess, then run, as the door does."""
        checked = self.checked(tool, arguments)
        assessed = await self.tools[tool].assess(self.context(), checked)
        assert not assessed.problem, assessed.problem
        assert assessed.level < Level.L3, assessed.reasons
        return await self.tools[tool].run(self.context(), checked)

    def checked(self, tool: str, arguments: dict[str, str | int]) -> Arguments:
        """The arguments as the door checks them."""
        checked = check_arguments(self.tools[tool].spec, arguments)
        assert not isinstance(checked, str), checked
        return checked


def entry(
    name: str,
    *,
    tags: tuple[str, ...] = (),
    sudo: SudoPolicy = SudoPolicy.ALLOWED,
    environment: Environment = Environment.STAGING,
    criticality: Criticality = Criticality.NORMAL,
    user: str = "ops",
    kind: ServerKind = ServerKind.SSH,
) -> Server:
    """A server of the tenant."""
    return Server(
        id=f"srv_{name}",
        tenant_id=TENANT,
        name=name,
        kind=kind,
        address=f"{name}.example",
        tags=tags,
        sudo=sudo,
        environment=environment,
        criticality=criticality,
        user=user,
    )


def site(entries: Sequence[Server], host: Callable[[], FakeHost] = FakeHost) -> Site:
    """These servers, each with a host of its own."""
    return Site(entries=tuple(entries), hosts={each.name: host() for each in entries})


def sites(*names: str, host: Callable[[], FakeHost] = FakeHost) -> Site:
    """Ordinary servers of these names."""
    return site([entry(name) for name in names], host)


def tools_of(fleet: FakeFleet) -> dict[str, Tool]:
    """The tools by name."""
    return {tool.spec.name: tool for tool in fleet_tools(fleet, fleet, PROTECTED, KeptArtifacts())}


async def call(
    fleet: FakeFleet, name: str, context: ToolContext = CONTEXT, **arguments: object
) -> ToolResult:
    """Check the arguments as the door does, then run."""
    tool = tools_of(fleet)[name]
    checked = check_arguments(tool.spec, arguments)
    assert not isinstance(checked, str), checked
    return await tool.run(context, checked)


def one(**commands: Any) -> FakeFleet:
    """A fleet of one server."""
    return FakeFleet(hosts={"web-3": FakeHost(**commands)})
