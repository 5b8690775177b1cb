"""An edit of a text file: worked out, shown as a diff, written, checked, taken back."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass

from core.fleet.exact import Exact, digest
from core.fleet.file_risk import check_for
from core.fleet.host import NOT_INSTALLED, FileProblem, Host
from core.fleet.report import Report, Verdict, clean, clean_block, failure, fenced
from core.redact import redact, redact_now

MAX_CHANGE_CHARS = 200_000
"""Of what a human is asked to approve."""
_KEY = "PRIVATE KEY"
_CHECK_TIMEOUT_S = 30.0
_MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is asked for: a piece to replace, or the whole new content."""

    path: str
    old: str | None = None
    new: str | None = None
    content: str | None = None

    def problem(self) -> str | None:
        """A sentence when this is no edit."""
        pieces = (self.old is not None) + (self.new is not None)
        if self.content is not None:
            return "give either content, or old and new, not both." if pieces else None
        if pieces < 2:  # noqa: PLR2004  # both of them
            return "give old and new (a piece to replace), or content (the whole new text)."
        return "old is empty: give the text that is to be replaced." if not self.old else None


def edited(before: Exact, edit: Edit) -> bytes | str:
    """The new content, or a sentence why there is none."""
    if edit.content is not None:
        return edit.content.encode()
    if not before.exists:
        return f"there is no file {edit.path}; give its whole content to make it."
    try:
        text = before.data.decode("utf-8")
    except UnicodeDecodeError:
        return f"{edit.path} is no text in UTF-8; I edit text only."
    old, new = edit.old or "", edit.new or ""
    times = text.count(old)
    if times == 0 and "\r\n" in text:  # the file's own line ends
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
        times = text.count(old)
    if times == 0:
        return f"{edit.path} does not hold the old text; read it again, white space counts."
    if times > 1:
        return f"{edit.path} holds the old text {times} times; give more of what is around it."
    return text.replace(old, new, 1).encode()


def diff(after: str, before: Exact) -> str | None:
    """The whole unified diff with what looks like a secret hidden; None if it is too large.

    Compared as it is, so that a changed line shows even where its content is hidden; only of
    texts with a key, whose lines look like nothing in particular, the hidden ones are compared.
    Control characters stay: a card writes them out (``core.visible``).
    """
    texts = [text.replace("\r\n", "\n") for text in (before.data.decode("utf-8", "replace"), after)]
    keys = any(_KEY in text for text in texts)
    old, new = (_lines(redact_now(text) if keys else text) for text in texts)
    name = before.path if before.exists else "/dev/null"
    text = "\n".join(difflib.unified_diff(old, new, name, before.path, lineterm=""))
    if not text:
        return "(only line ends or a hidden secret differ)"
    if len(text) > MAX_CHANGE_CHARS:
        return None
    note = "\n[what looks like a secret is hidden; a key may have changed unseen]" if keys else ""
    return f"{redact_now(text)}{note}"


def _lines(text: str) -> list[str]:
    """Cut at line feeds alone: what else ends a line somewhere is a part of it."""
    return text.removesuffix("\n").split("\n") if text else []


async def write_edit(host: Host, before: Exact, after: bytes, *, sudo: bool) -> Report:
    """Write it, check it where there is a check, put the old content back when that fails.

    Raises HostUnreachable.
    """
    written = await host.write_file(before.path, after, expected_sha256=before.sha256, sudo=sudo)
    if isinstance(written, FileProblem):
        return failure(f"nothing was changed: {clean(written.sentence)}")
    check = check_for(written.path)
    if check is None:
        return Report(headline=f"{clean(written.path)} is written.{_undo(written.backup, before)}")
    result = await host.shell(check, timeout_s=_CHECK_TIMEOUT_S, max_bytes=_MAX_BYTES, sudo=sudo)
    if result.exit_status == NOT_INSTALLED and not result.timed_out:
        return Report(
            headline=f"{clean(written.path)} is written; `{check}` is not installed, so it was "
            f"not checked.{_undo(written.backup, before)}",
            verdict=Verdict.LOOK,
        )
    said = redact(clean_block(f"{result.stdout}{result.stderr}"))[:2_000].strip()
    if result.exit_status == 0 and not result.timed_out:
        return Report(
            headline=f"{clean(written.path)} is written, and `{check}` finds it right."
            f"{_undo(written.backup, before)}"
        )
    back = await _put_back(host, before, digest(after), sudo=sudo)
    return Report(
        headline=f"`{check}` found fault with the new {clean(written.path)}; {back}",
        details=fenced(said) if said else "",
        verdict=Verdict.ACT,
        failed=True,
    )


async def _put_back(host: Host, before: Exact, sha256: str, *, sudo: bool) -> str:
    """Undo the write; the sentence tells whether that worked."""
    if before.exists:
        back = await host.write_file(before.path, before.data, expected_sha256=sha256, sudo=sudo)
        ended = isinstance(back, FileProblem)
    else:
        removed = await host.shell(
            f"rm -f -- {shlex.quote(before.path)}",
            timeout_s=_CHECK_TIMEOUT_S,
            max_bytes=_MAX_BYTES,
            sudo=sudo,
        )
        ended = removed.exit_status != 0
    if ended:
        return "the old content could NOT be put back: do that now, from the backup."
    return "the old content was put back, nothing is changed."


def _undo(backup: str, before: Exact) -> str:
    if not before.exists:
        return " It is new; to undo, remove it."
    return f" The old content is in {clean(backup)}; to undo, copy it back." if backup else ""
