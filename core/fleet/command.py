"""Running one command on one server: its output shown as it comes, bounded, kept whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from core.fleet.artifacts import Artifacts
from core.fleet.host import CommandResult, Host
from core.fleet.report import Report, Verdict, clean, clean_block, count, fenced, size
from core.redact import aside, redact, redact_now
from core.tools import ToolContext

PROGRESS_EVERY_S = 2.0
"""At most one line of a server's output is shown as progress in this time."""
_PROGRESS_CHARS = 160
_KEY_BEGINS = "-----BEGIN"
_HEAD_SHARE = 0.4
_KILLED = "it was ended"
_NOT_KEPT = "the whole output could not be kept"

_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Progress:
    """Shows the latest whole line of an output, now and then, without secrets."""

    server: str
    show: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _rest: str = field(default="", init=False)
    _shown_at: float | None = field(default=None, init=False)
    _silent: bool = field(default=False, init=False)

    def __call__(self, piece: str) -> None:
        """Take a piece of output."""
        if self._silent:
            return
        text = self._rest + piece
        if _KEY_BEGINS in text:  # a key goes on for lines that look like nothing in particular
            self._silent = True
            return
        whole, _, rest = text.rpartition("\n")
        self._rest = rest[-_PROGRESS_CHARS * 4 :]
        line = next((each for each in reversed(whole.splitlines()) if each.strip()), "")
        now = self.clock()
        due = self._shown_at is None or now - self._shown_at >= PROGRESS_EVERY_S
        if line and due:
            self._shown_at = now
            self.show(f"{self.server}: {redact(clean(line[:2_000]))[:_PROGRESS_CHARS]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run, and how much of its output to show and to keep."""

    command: str
    timeout_s: int
    sudo: bool
    shown_chars: int
    keep_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command left behind on one server, ready to be shown."""

    report: Report
    exit_status: int | None = None
    artifact: str = ""
    same: str = ""
    """Equal for servers that answered the same: status and shown output."""


async def run_on(
    host: Host, server: str, order: Order, context: ToolContext, artifacts: Artifacts
) -> Ran:
    """Run it; what is too long to be shown is kept as an artifact. Raises HostUnreachable."""
    result = await host.shell(
        order.command,
        timeout_s=float(order.timeout_s),
        max_bytes=order.keep_bytes,
        sudo=order.sudo,
        keep_bytes=order.keep_bytes,
        on_output=Progress(server=server, show=context.progress),
    )
    data = result.whole or f"{result.stdout}{result.stderr}".encode()
    total = max(result.whole_bytes, len(data))
    text = (await aside(_harmless, data.decode("utf-8", "replace"))).rstrip("\n")
    cut, artifact, shown = len(text) > order.shown_chars or total > len(data), "", text
    if cut:
        artifact = await _kept(artifacts, context, server, text, total)
        shown = shortened(text, order.shown_chars, artifact)
    return Ran(
        report=Report(
            headline=_headline(result, order, text, total),
            details=fenced(shown) if shown.strip() else "",
            verdict=Verdict.FINE if _fine(result) else Verdict.ACT,
        ),
        exit_status=None if result.timed_out else result.exit_status,
        artifact=artifact,
        same=f"{result.exit_status} {result.timed_out} {server if cut else ''}\n{shown}",
    )


async def _kept(
    artifacts: Artifacts, context: ToolContext, server: str, text: str, total: int
) -> str:
    """Keep the whole output; its id, or "" if that failed: the command ran and must be told of."""
    try:
        return await artifacts.keep(context, server, text.encode(), total=total)
    except Exception:  # noqa: BLE001  # whatever it is, it must not hide that the command ran
        _log.exception("fleet.artifact_not_kept", server=server)
        return ""


def shortened(text: str, most: int, artifact: str) -> str:
    """The beginning and the end of an output that is not shown whole, cut at line ends.

    ``artifact`` has all of it; "" if it could not be kept.
    """
    whole = f"read_artifact {artifact} has the whole output" if artifact else _NOT_KEPT
    head = text[: int(most * _HEAD_SHARE)]
    tail = text[len(text) - (most - len(head)) :] if len(text) > most else ""
    head = head.rpartition("\n")[0] or head if tail else text
    tail = tail.partition("\n")[2] or tail
    left = count(text.count("\n") + 1 - head.count("\n") - tail.count("\n") - 2, "line")
    note = f"[… {left} left out; {whole} …]" if tail else f"[… the server said more; {whole} …]"
    return "\n".join(part for part in (head, note, tail) if part)


def _headline(result: CommandResult, order: Order, text: str, total: int) -> str:
    took = f"{result.seconds:.1f} s"
    lines = text.count("\n") + 1 if text.strip() else 0
    much = f", {count(lines, 'line')} of output" if lines else ", no output"
    much += f" ({size(total)})" if total > order.shown_chars else ""
    if result.timed_out:
        return f"did not end within {order.timeout_s} s; {_KILLED}{much}."
    if result.exit_status < 0:
        return f"ended by signal {-result.exit_status} after {took}{much}."
    done = "done" if result.exit_status == 0 else "failed"
    return f"{done}, exit status {result.exit_status} after {took}{much}."


def _fine(result: CommandResult) -> bool:
    return result.exit_status == 0 and not result.timed_out


def _harmless(text: str) -> str:
    return redact_now(clean_block(text))
