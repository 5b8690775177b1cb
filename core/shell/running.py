"""Programs that run a command or shell text: the command inside is judged as well."""

from __future__ import annotations

import re
from collections.abc import Callable

from core.risk import Level
from core.shell.findings import Findings, shown
from core.shell.words import DYN, Word
from core.shell.wrappers import HARMLESS_VARIABLES, SHELL_FLAGS, WRAPPERS, Wrapper

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.DOTALL)
_PLAIN_VALUE = re.compile(r"[\w.,:@%+/-]*")


def judge_wrapper(wrapper: Wrapper, words: list[Word], findings: Findings) -> None:
    """Judge what a wrapper runs, and the wrapper; it never lowers the command inside."""
    name = words[0].value.rpartition("/")[2]
    findings.sudo = findings.sudo or wrapper.privilege
    if wrapper.least:
        findings.add(wrapper.least, f"{shown(words)} {wrapper.why}")
    at, known = _inner(wrapper, words)
    if not known:
        findings.add(Level.L2, f"{shown(words)}: its options are not known to be harmless")
    inner = words[at:]
    while inner and wrapper.privilege and (given := _ASSIGNMENT.fullmatch(inner[0].value)):
        check_assignment(given[1], given[2], findings, prefix=True)
        inner = inner[1:]
    if name == "xargs":
        inner = _with_input(words[1:at], inner)
    if not inner:
        if name not in {"xargs", "time", "exec"}:
            findings.add(Level.L2, f"{shown(words)} starts a shell or tells what is not known")
        return
    if name == "command" and inner[0].value in {"-v", "-V"}:
        return
    level = findings.command(inner)
    if wrapper.privilege:
        least = Level.L1 if level is Level.L0 and name in {"sudo", "doas"} else Level.L2
        findings.add(least, f"{shown(words)} runs it with other rights")


def _inner(wrapper: Wrapper, words: list[Word]) -> tuple[int, bool]:
    """Where the inner command begins, and whether every option before it is known."""
    at, known, positionals = 1, True, wrapper.positionals
    while at < len(words):
        value = words[at].value
        if value == "--":
            at += 1
            break
        if value.startswith("-") and len(value) > 1:
            if words[0].value == "command" and value in {"-v", "-V"}:
                return at, True
            name = value.partition("=")[0]
            if name in wrapper.values and "=" not in value:
                known = known and at + 1 < len(words) and words[at + 1].known
                at += 1
            elif not _allowed(wrapper, value, name):
                known = False
        elif positionals:
            positionals -= 1
            known = known and words[at].known
        else:
            break
        at += 1
    return at, known


def _allowed(wrapper: Wrapper, value: str, name: str) -> bool:
    if name in wrapper.bare or name in wrapper.values:
        return True
    if value[:2] in wrapper.values and not value.startswith("--"):
        return True
    return bool(re.fullmatch(r"-[a-zA-Z]+", value)) and all(
        f"-{letter}" in wrapper.bare for letter in value[1:]
    )


def _with_input(options: list[Word], inner: list[Word]) -> list[Word]:
    """The command of ``xargs`` with what it reads, which is only known when it runs."""
    marks = {"{}"}
    for index, word in enumerate(options):
        if word.value == "-I" and index + 1 < len(options):
            marks.add(options[index + 1].value)
        elif word.value.startswith("-I"):
            marks.add(word.value[2:])
    filled = []
    for word in inner:
        value = word.value
        for mark in marks - {""}:
            value = value.replace(mark, DYN)
        filled.append(Word(value, word.plain, word.odd))
    return [*filled, Word(DYN, plain=False)] if filled else []


def judge_shell(words: list[Word], findings: Findings) -> None:
    """``sh -c TEXT`` is judged as its text; any other call runs what is not seen."""
    options = [word.value for word in words[1:]]
    if len(words) > 2 and options[0] in SHELL_FLAGS:  # noqa: PLR2004  # sh -c TEXT
        text = words[2]
        if text.known and not text.odd:
            findings.text(text.value)
            return
        findings.add(Level.L2, f"{shown(words)} runs text that is only known when it runs")
        findings.forbidden_in(text.value.replace(DYN, "x"))
        findings.forbidden_in(text.value.replace(DYN, ""))
        return
    findings.add(Level.L2, f"{shown(words)} runs commands that are not known here")
    for word in words[1:]:
        if " " in word.value or "\n" in word.value:
            findings.text(word.shown())


def _env(words: list[Word], findings: Findings) -> None:
    at = 1
    while at < len(words):
        value = words[at].value
        if given := _ASSIGNMENT.fullmatch(value):
            check_assignment(given[1], given[2], findings, prefix=True)
        elif value in {"-u", "--unset", "-C", "--chdir"}:
            at += 1
            findings.add(Level.L2, f"{shown(words)} changes where or with what it runs")
        elif value in {"-S", "--split-string"} or value.startswith(("-S", "--split-string=")):
            findings.add(Level.L2, f"{shown(words)} runs text that it splits itself")
            rest = " ".join([value.removeprefix("-S"), *(w.shown() for w in words[at + 1 :])])
            findings.text(rest.partition("=")[2] if value.startswith("--") else rest)
        elif value == "--":
            at += 1
            break
        elif value not in {"-i", "-"}:
            if not value.startswith("-"):
                break
            findings.add(Level.L2, f"{shown(words)}: {value} is not known to be harmless")
        at += 1
    if words[at:]:
        findings.command(words[at:])
    else:
        findings.add(Level.L2, f"{shown(words)} shows the environment, where secrets may be")


def _su(words: list[Word], findings: Findings) -> None:
    findings.sudo = True
    findings.add(Level.L2, f"{shown(words)} runs as another user")
    for word in words[1:]:
        if not word.value.startswith("-") and len(word.value.split()) > 1:
            findings.text(word.shown())


def _eval(words: list[Word], findings: Findings) -> None:
    findings.add(Level.L2, f"{shown(words)} runs text that is put together when it runs")
    findings.text(" ".join(word.shown() for word in words[1:]))


INSIDE: dict[str, Callable[[list[Word], Findings], None]] = {
    "env": _env,
    "su": _su,
    "eval": _eval,
}


def check_assignment(name: str, value: str, findings: Findings, *, prefix: bool) -> None:
    """A variable before a command can change what any program does; a local one cannot."""
    plain = bool(_PLAIN_VALUE.fullmatch(value)) and "/" not in value
    if prefix and not (name in HARMLESS_VARIABLES and plain):
        findings.add(Level.L2, f"`{name}=` changes how the command runs")
    if not prefix and not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        findings.add(Level.L2, f"`{name}=` may change how later commands run")
    if not prefix and name.endswith(("_proxy", "path")):
        findings.add(Level.L2, f"`{name}=` may change how later commands run")


__all__ = ["INSIDE", "WRAPPERS", "check_assignment", "judge_shell", "judge_wrapper"]
