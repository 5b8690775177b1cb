"""Reading one file, bounded, from its beginning or its end."""

from __future__ import annotations

from core.fleet.host import FileProblem, Host
from core.fleet.report import Report, clean, clean_block, count, failure, fenced, size
from core.redact import CUT, HIDDEN, aside, redact

MAX_LINES = 1_000
_MAX_BYTES = 65_536
_SHOWN_CHARS = 30_000


def path_problem(path: str) -> str | None:
    """A sentence when this is no path to a file, or None."""
    if path.startswith("/"):
        return None
    return "name the file by its full path, such as /etc/hosts."


async def read_file(host: Host, path: str, *, tail: int | None, head: int | None) -> Report:
    """Show a file; ``tail`` and ``head`` bound the number of lines at its end or beginning."""
    problem = path_problem(path)
    if problem:
        return failure(problem)
    read = await host.read_file(path, max_bytes=_MAX_BYTES, tail=tail is not None)
    if isinstance(read, FileProblem):
        return failure(clean(read.sentence))
    where = clean(read.path)
    if read.binary:
        return Report(headline=f"{where} is a binary file ({size(read.size)}); I show text only.")
    text = await aside(_harmless, read.text)
    if not text.strip():
        return Report(headline=f"{where} is empty.")
    lines = text.rstrip("\n").split("\n")
    from_end = tail is not None
    kept, cut = _cut(lines, tail or head, from_end=from_end)
    partial = cut or read.truncated
    part = f"the {'last' if from_end else 'first'} " if partial else "all "
    whole = f" of {size(read.size)}" if partial and read.size else ""
    hidden = "; what looks like a secret is hidden" if HIDDEN in text else ""
    long = "; long lines are cut" if any(line.endswith(CUT) for line in kept) else ""
    return Report(
        headline=f"{where}, {part}{count(len(kept), 'line')}{whole}{long}{hidden}.",
        details=fenced("\n".join(kept)),
    )


def _harmless(text: str) -> str:
    return redact(clean_block(text))


def _cut(lines: list[str], wanted: int | None, *, from_end: bool) -> tuple[list[str], bool]:
    """Keep at most ``wanted`` lines and a bounded number of characters, at the right end."""
    kept: list[str] = []
    room = _SHOWN_CHARS
    for line in reversed(lines) if from_end else lines:
        if room <= 0 or (wanted is not None and len(kept) >= wanted):
            break
        kept.append(line[:room])
        room -= len(line) + 1
    return (kept[::-1] if from_end else kept), len(kept) < len(lines) or room < 0
