"""How a read-only program is described, and whether a call keeps to the description."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from core.shell.words import Word


class Opens(Enum):
    """What a program does with its operands."""

    CONTENTS = "contents"
    """Shows what is in the files they name."""
    NAMES = "names"
    """Shows names, sizes and times only."""
    DEVICES = "devices"
    """Asks about disks; ``/dev`` paths are no harm."""
    NOTHING = "nothing"
    """They are text: whatever stands there, it is only shown or compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A program, or a subcommand, that only reads as long as it is called like this."""

    allow: frozenset[str] | None = None
    """Options that keep it read only; any other is not known. None: all but ``deny``."""
    deny: frozenset[str] = frozenset()
    """Options that make it change something or run something."""
    values: frozenset[str] = frozenset()
    """Options whose value is the next word."""
    operands: re.Pattern[str] | None = None
    """What every operand must look like."""
    needs: frozenset[str] = frozenset()
    """Options of which one must be there: without them it does something else."""
    most: int | None = None
    """How many operands it takes without changing anything."""
    opens: Opens = Opens.CONTENTS
    sub: Mapping[str, Reader] = field(default_factory=dict)
    """Its read-only subcommands; ``""`` is the call without any."""


def reader(
    *,
    allow: str | None = None,
    deny: str = "",
    values: str = "",
    operands: str | None = None,
    needs: str = "",
    most: int | None = None,
    opens: Opens = Opens.CONTENTS,
    sub: Mapping[str, Reader] | None = None,
) -> Reader:
    """Write a table's row: lists of options are words in one string.

    A program of subcommands takes no option before them unless the row allows it: such options
    choose configurations, hosts and programs (``apt-cache -o Dir::Bin::dpkg=...``).
    """
    if sub and allow is None:
        allow = ""
    return Reader(
        allow=None if allow is None else frozenset((allow + " " + values).split()),
        deny=frozenset(deny.split()),
        values=frozenset(values.split()),
        operands=None if operands is None else re.compile(operands),
        needs=frozenset(needs.split()),
        most=most,
        opens=opens,
        sub=sub or {},
    )


@dataclass(slots=True)
class _Call:
    """One call while its options are read."""

    spec: Reader
    operands: list[Word] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    problem: str = ""


def why_not_reading(spec: Reader, args: Sequence[Word]) -> str:
    """Why this call may do more than read, as half a sentence; empty when it only reads."""
    call = _Call(spec)
    index = 0
    while index < len(args) and not call.problem:
        word = args[index]
        index += 1
        if not _certain(word, spec):
            call.problem = f"{word.shown()!r} is only known when it runs"
        elif word.value == "--":
            call.operands += args[index:]
            break
        elif word.value.startswith("-") and len(word.value) > 1:
            taken = args[index : index + _option(call, word.value)]
            index += len(taken)
            if not all(_certain(each, spec) for each in taken):
                call.problem = f"the value of {word.shown()} is only known when it runs"
        elif spec.sub:
            return _subcommand(spec, word, args[index:])
        else:
            call.operands.append(word)
    if spec.sub and not call.problem:
        return "" if "" in spec.sub and not call.operands else "the subcommand is not known to read"
    return call.problem or _operands(call)


def _certain(word: Word, spec: Reader) -> bool:
    if spec.opens is Opens.NOTHING:
        return not word.odd and not word.braces
    return not (word.dynamic or word.odd or word.braces)


def _subcommand(spec: Reader, word: Word, rest: Sequence[Word]) -> str:
    inner = spec.sub.get(word.value) if word.known else None
    if inner is None:
        return f"{word.shown()!r} is not known to only read"
    return why_not_reading(inner, rest)


def _operands(call: _Call) -> str:
    spec = call.spec
    if spec.needs and not spec.needs & call.seen:
        return f"without {' or '.join(sorted(spec.needs))} it does more than read"
    if spec.most is not None and len(call.operands) > spec.most:
        return "what it is given may set something"
    for word in call.operands:
        if not _certain(word, spec):
            return f"{word.shown()!r} is only known when it runs"
        if spec.operands is not None and not spec.operands.fullmatch(word.value):
            return f"{word.shown()!r} may do more than read"
    return ""


def _option(call: _Call, text: str) -> int:
    """Judge one option; returns how many words its value takes."""
    call.seen.update({text, text.partition("=")[0]})
    if text.startswith("--"):
        return _long(call, text)
    if text in call.spec.deny:
        call.problem = f"{text} may do more than read"
        return 0
    if call.spec.allow is not None and text in call.spec.allow:
        return 1 if text in call.spec.values else 0
    for place, letter in enumerate(text[1:], 2):
        option = f"-{letter}"
        call.seen.add(option)
        if option in call.spec.deny:
            call.problem = f"{option} may do more than read"
            return 0
        if call.spec.allow is not None and option not in call.spec.allow:
            if letter.isdigit() and "-0" in call.spec.allow:
                continue
            call.problem = f"{text} is not known to only read"
            return 0
        if option in call.spec.values:
            return 0 if place < len(text) else 1
    return 0


def _long(call: _Call, text: str) -> int:
    name, given, _ = text.partition("=")
    if any(each.startswith(name) for each in call.spec.deny):
        call.problem = f"{name} may do more than read"
        return 0
    if call.spec.allow is not None and name not in call.spec.allow:
        call.problem = f"{name} is not known to only read"
        return 0
    return 1 if name in call.spec.values and not given else 0


def operands_of(spec: Reader, args: Sequence[Word]) -> list[Word] | None:
    """The words that are no options and no values of options; None when an option is unknown."""
    call = _Call(spec)
    index = 0
    while index < len(args):
        value = args[index].value
        index += 1
        if value == "--":
            call.operands += args[index:]
            break
        if value.startswith("-") and len(value) > 1:
            index += _option(call, value)
            if call.problem:
                return None
        else:
            call.operands.append(args[index - 1])
    return call.operands
