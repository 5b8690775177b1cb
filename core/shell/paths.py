"""Which words may name a protected path, in every way a command can spell one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from core.protected import RULES
from core.risk import Level
from core.shell.findings import Findings, shown
from core.shell.words import ANY, BRACE, CLASS, DYN, HOME, STAR, Word

HARMLESS_DEVICES = frozenset(
    f"/dev/{name}"
    for name in ("null", "zero", "full", "random", "urandom", "stdin", "stdout", "stderr", "tty")
)
CLEAR_TREES = ("/var/log/", "/usr/share/", "/usr/lib/", "/usr/include/", "/sys/class/")
"""Below them nobody keeps keys, so a pattern there is held against the fixed places only."""
_MOST_PIECES = 40
_MOST_CHECKS = 4000
_MOST_PATTERNS = 60
_SPECIFIC = 3
"""Letters that a pattern must hold before it is taken to mean a protected name."""
_SURE, _UNSURE = "!", "?"
"""First letter of an answer: it matches the very name that a rule is about, or a longer one."""
_SPLIT = re.compile(r"[\s=:,@;|<>(){}\[\]\"'`&!%+#\\]+")
_LONG = re.compile(r"--?[A-Za-z][\w-]*[=:]")
_BRACKET = re.compile(CLASS + r"[!^]?\]?[^\]]*\]")
_WILD = (STAR, ANY, CLASS, DYN)


def check_words(words: list[Word], findings: Findings, *, names_only: bool, devices: bool) -> None:
    """Note every word that names, or could name, a protected path.

    ``names_only``: the command shows names and sizes, so a broad pattern is no harm.
    ``devices``: the command asks about disks, so ``/dev`` is no harm.
    """
    for word in words:
        key = (word.value, names_only, devices, len(findings.dirs))
        if key in findings.words_checked:
            continue
        findings.words_checked.add(key)
        for value in word.alternatives():
            _check_value(word, value, findings, names_only=names_only, devices=devices)


def _check_value(
    word: Word, value: str, findings: Findings, *, names_only: bool, devices: bool
) -> None:
    pieces = list(dict.fromkeys(_pieces(value)))
    if len(pieces) > _MOST_PIECES:
        findings.add(Level.L2, f"{shown([word])} names more than can be looked through")
    for piece in pieces[:_MOST_PIECES]:
        if _wild(piece):
            _check_pattern(word, piece, findings, names_only=names_only)
        for path in _readings(piece, findings.dirs):
            if devices and path.startswith("/dev/") and ".." not in path:
                continue
            _check_path(word, path, findings)


def _check_path(word: Word, path: str, findings: Findings) -> None:
    if path in HARMLESS_DEVICES:
        return
    if path.startswith(("/dev/tcp/", "/dev/udp/")):
        findings.add(Level.L2, f"{shown([word])} opens a network connection")
        return
    if path.startswith("/dev/fd/"):
        findings.add(Level.L2, f"{shown([word])} goes through an open file")
        return
    if (path, False) not in findings.checked:
        if len(findings.checked) > _MOST_CHECKS:
            findings.add(Level.L2, "it names more paths than can be looked through")
            return
        findings.checked[path, False] = findings.protected.why(path)
    reason = findings.checked[path, False]
    if reason:
        findings.add(Level.L3, f"{shown([word])} is protected: {reason}")


def _pieces(value: str) -> Iterator[str]:
    """Parts of a word that a program may take for a path: after ``=``, ``@``, ``-f``, quotes."""
    yield value
    if "=" in value:
        yield value.split("=", 1)[1]
    if value.startswith("@"):
        yield value[1:]
    if ":" in value:
        yield from value.split(":")
    if value.startswith("-") and not value.startswith("--"):
        yield from (value[2:], value[2:].lstrip("@="), value[1:].lstrip(value[1:2]))
    if long := _LONG.match(value):
        yield value[long.end() :].lstrip("@")
    for piece in _SPLIT.split(value):
        if "/" in piece or piece.startswith(("~", HOME)):
            yield piece
            if not piece.startswith(("/", "~", HOME)) and "/" in piece and piece.startswith("-"):
                yield piece[piece.index("/") :]


def _readings(piece: str, dirs: list[str]) -> Iterator[str]:
    """The piece as a path, from every place where the command may stand."""
    piece = piece.replace(BRACE, "{")
    for filled in dict.fromkeys((piece.replace(DYN, ""), piece.replace(DYN, "x"))):
        text = (
            filled.replace(HOME, "/root").replace(STAR, "*").replace(ANY, "?").replace(CLASS, "[")
        )
        if not text or text == "-":
            continue
        if text.startswith(("/", "~")):
            yield text
            continue
        yield f"/root/{text}"
        if "/" in text:
            yield f"/{text}"
        for each in dirs:
            yield f"{each}/{text}"


def _wild(piece: str) -> bool:
    return any(mark in piece for mark in _WILD[:3])


def _check_pattern(word: Word, piece: str, findings: Findings, *, names_only: bool) -> None:
    path = _BRACKET.sub(ANY, piece.replace(HOME, "/root")).replace(CLASS, ANY).replace(DYN, STAR)
    bases = [""] if path.startswith("/") else ["/root", "", *findings.dirs]
    for base in bases:
        whole = f"{base}/{path}" if base or not path.startswith("/") else path
        specific = all(
            len(part.replace(STAR, "").replace(ANY, "")) >= _SPECIFIC
            for part in path.split("/")
            if STAR in part or ANY in part
        )
        if names_only and not specific:
            continue
        key = (whole, True)
        if key not in findings.checked:
            if sum(wild for _, wild in findings.checked) > _MOST_PATTERNS:
                findings.add(Level.L2, "it holds more patterns than can be looked through")
                return
            findings.checked[key] = _could_match(whole, findings)
        reason = findings.checked[key]
        if reason and (reason.startswith(_SURE) or not specific):
            level = Level.L3 if specific else Level.L2
            findings.add(level, f"{shown([word])} may match a protected file: {reason[1:]}")


def _in_clear_tree(path: str) -> bool:
    inner = path.startswith("/usr/lib/ssl")  # on Debian its folder ``private`` links to the keys
    return path.startswith(CLEAR_TREES) and ".." not in path and not inner


def _could_match(path: str, findings: Findings) -> str | None:
    parts = tuple(part for part in path.casefold().split("/") if part not in {"", "."})
    if ".." in parts:
        return _UNSURE + "it goes up with .. in a pattern"
    maybe = None
    for reason, rule, samples in _rules():
        if rule[0] == "**" and _in_clear_tree(path):
            continue
        if _meets(parts, rule):
            if any(_meets(parts, sample) for sample in samples):
                return _SURE + reason
            maybe = maybe or _UNSURE + reason
    for own in findings.protected.own:
        rule = (*(part for part in own.casefold().split("/") if part), "**")
        if _meets(parts, rule):
            return _SURE + "it belongs to IT0 itself"
    return maybe


@cache
def _rules() -> tuple[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]], ...]:
    """Reason, pattern by components, and the names the pattern was made for."""
    return tuple(
        (reason, parts, tuple(_sample(parts, filling) for filling in ("", "x")))
        for reason, globs in RULES
        for glob in globs
        for parts in [tuple(part for part in glob.split("/") if part)]
    )


def _sample(parts: tuple[str, ...], filling: str) -> tuple[str, ...]:
    return tuple(part if part == "**" else part.replace("*", filling) for part in parts)


def _meets(parts: tuple[str, ...], rule: tuple[str, ...]) -> bool:
    """Whether some path fits both the pattern of a word and the pattern of a rule."""
    reached = {0}
    for index, rule_part in enumerate(rule):
        if rule_part == "**":
            reached = set(range(min(reached), len(parts) + 1))
            if index == len(rule) - 1:
                return len(parts) in reached
            continue
        reached = {at + 1 for at in reached if at < len(parts) and _fits(parts[at], rule_part)}
        if not reached:
            return False
    return len(parts) in reached


def _fits(wild: str, rule: str) -> bool:
    """Whether some name fits both patterns; a pattern of the shell meets no leading dot."""
    if wild[:1] in {STAR, ANY} and rule[:1] == ".":
        return False
    row = [True] + [False] * len(rule)
    for index, char in enumerate(rule, 1):
        row[index] = row[index - 1] and char == "*"
    for char in wild:
        below = [row[0] and char == STAR]
        for index, other in enumerate(rule, 1):
            if char == STAR or other == "*":
                below.append(row[index] or below[index - 1])
            else:
                below.append(row[index - 1] and (char in {ANY, other} or other == "?"))
        row = below
    return row[-1]
