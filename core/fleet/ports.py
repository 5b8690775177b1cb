"""Who listens: ``ss``, or the kernel's socket tables where it is not installed."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from core.fleet.host import Host
from core.fleet.report import Report, clean, count, failure, table

PROC_SOCKETS = r"""
for table in tcp tcp6 udp udp6; do
  [ -r /proc/net/$table ] && echo "@table $table" && cat /proc/net/$table
done
echo "@table owners"
for folder in /proc/[0-9]*; do
  [ -r "$folder/fd" ] || continue
  read -r name <"$folder/comm" 2>/dev/null || continue
  echo "@process ${folder#/proc/} $name"
  ls -l "$folder/fd" 2>/dev/null
done
exit 0
"""
_TIMEOUT_S = 12.0
_MAX_BYTES = 4 * 1024 * 1024
_PROCESS = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=(\d{1,10}),')
_STATES = frozenset({"LISTEN", "UNCONN"})
_HEX_ROW = re.compile(
    r"^\s*\d+: ([0-9A-Fa-f]{8}|[0-9A-Fa-f]{32}):([0-9A-Fa-f]{4}) [0-9A-Fa-f]+:[0-9A-Fa-f]{4} "
    r"([0-9A-Fa-f]{2}) \S+ \S+ \S+\s+\d+\s+\d+\s+(\d{1,20})(?: |$)"
)
_SOCKET = re.compile(r"-> '?socket:\[(\d{1,20})\]")
_LISTENING_STATES = {"tcp": "0A", "udp": "07"}
MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket that waits for others."""

    protocol: str
    """``tcp`` or ``udp``."""
    address: str
    port: int
    owners: tuple[str, ...]
    """Such as ``nginx (812)``; empty when the account may not see it."""

    @property
    def is_public(self) -> bool:
        """Whether other machines reach it, as far as the address says."""
        bare = self.address.partition("%")[0]
        if bare == "*":
            return True
        try:
            parsed = ipaddress.ip_address(bare)
        except ValueError:
            return True
        mapped = getattr(parsed, "ipv4_mapped", None)
        return not (mapped or parsed).is_loopback


def parse_ss(text: str) -> tuple[Listener, ...]:
    """Read ``ss -tulnp``, with or without its header; lines that make no sense are skipped."""
    found: list[Listener] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 5 or fields[0] not in {"tcp", "udp"} or fields[1] not in _STATES:  # noqa: PLR2004  # Netid State Recv-Q Send-Q Local
            continue
        address, _, port = fields[4].rpartition(":")
        if not _is_port(port):
            continue
        owners = tuple(f"{name} ({pid})" for name, pid in _PROCESS.findall(line))
        found.append(
            Listener(
                protocol=fields[0],
                address=address.strip("[]") or "*",
                port=int(port),
                owners=tuple(dict.fromkeys(owners)),
            )
        )
    return tuple(found)


def parse_proc_sockets(text: str) -> tuple[Listener, ...]:
    """Read the output of ``PROC_SOCKETS``."""
    protocol, owner = "", ""
    rows: list[tuple[str, str, int, str]] = []
    owners: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@table "):
            protocol = line.removeprefix("@table ")[:3]
        elif process := re.fullmatch(r"@process (\d{1,10}) (.*)", line):
            owner = f"{process[2]} ({process[1]})"
        elif socket := _SOCKET.search(line):
            owners.setdefault(socket[1], []).append(owner)
        elif (row := _HEX_ROW.match(line)) and row[3].upper() == _LISTENING_STATES.get(protocol):
            rows.append((protocol, _address(row[1]), int(row[2], 16), row[4]))
    return tuple(
        Listener(
            protocol=kind,
            address=address,
            port=port,
            owners=tuple(dict.fromkeys(owners.get(inode, ()))),
        )
        for kind, address, port, inode in rows
        if port
    )


async def listening_ports(host: Host, *, port: int | None) -> Report:
    """Report the listeners, or who listens on one port."""
    result = await host.run(["ss", "-tulnp"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    found = parse_ss(result.stdout)
    if result.exit_status != 0 and not found:
        sockets = await host.run(
            ["sh", "-c", PROC_SOCKETS], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
        )
        if "@table tcp" not in sockets.stdout:
            return failure("I cannot tell: neither `ss` nor /proc/net/tcp is readable there.")
        found = parse_proc_sockets(sockets.stdout)
    return judge_ports(found, port=port)


def judge_ports(found: tuple[Listener, ...], *, port: int | None) -> Report:
    """Say who listens on a port, or which listeners other machines can reach."""
    merged = _merge(found)
    if port is not None:
        return _judge_one(tuple(each for each in merged if each.port == port), port)
    if not merged:
        return Report(headline="nothing listens on any TCP or UDP port.")
    public = [each for each in merged if each.is_public]
    names = ", ".join(f"{each.port} {_first_owner(each)}".strip() for each in public[:6])
    more = ", …" if len(public) > 6 else ""  # noqa: PLR2004  # as many as fit in a line
    reach = (
        f"{len(public)} of them for other machines, unless a firewall stops it: {names}{more}"
        if public
        else "all of them only for this machine itself"
    )
    return Report(
        headline=f"{count(len(merged), 'port')} with a listener, {reach}.", details=_table(merged)
    )


def _judge_one(mine: tuple[Listener, ...], port: int) -> Report:
    if not mine:
        return Report(headline=f"nobody listens on port {port}.")
    owners = list(dict.fromkeys(owner for each in mine for owner in each.owners))
    who = ", ".join(clean(owner) for owner in owners[:5]) or "a process that I may not see"
    where = "other machines" if any(each.is_public for each in mine) else "this machine only"
    return Report(
        headline=f"{who} listens on port {port} ({mine[0].protocol}), for {where}.",
        details=_table(mine),
    )


def _merge(found: tuple[Listener, ...]) -> tuple[Listener, ...]:
    """Several sockets on the same address (SO_REUSEPORT) are one listener."""
    merged: dict[tuple[str, str, int], Listener] = {}
    for each in found:
        key = (each.protocol, each.address, each.port)
        owners = (*merged[key].owners, *each.owners) if key in merged else each.owners
        merged[key] = Listener(
            protocol=each.protocol,
            address=each.address,
            port=each.port,
            owners=tuple(dict.fromkeys(owners)),
        )
    return tuple(sorted(merged.values(), key=lambda each: (each.port, each.protocol, each.address)))


def _table(listeners: tuple[Listener, ...]) -> str:
    return table(
        ("Port", "Protocol", "Address", "Process"),
        (
            (
                str(each.port),
                each.protocol,
                "all" if each.address in {"*", "0.0.0.0", "::"} else each.address,  # noqa: S104  # shown, not bound
                _owners(each),
            )
            for each in listeners
        ),
    )


def _owners(listener: Listener) -> str:
    shown = ", ".join(listener.owners[:3])
    left = len(listener.owners) - 3
    return f"{shown} and {left} more" if left > 0 else shown or "not visible"


def _first_owner(listener: Listener) -> str:
    return f"({clean(listener.owners[0].rpartition(' (')[0])})" if listener.owners else ""


def _address(digits: str) -> str:
    """Decode an address of /proc/net: 32-bit words in the machine's (little-endian) order."""
    raw = bytes.fromhex(digits)
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return str(ipaddress.ip_address(words))


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and int(text) <= MAX_PORT
