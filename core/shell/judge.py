"""``judge``: the level of shell text, and why; ``argv_level``: the same without a shell.

The grammar says which commands there are, the tables say what each would do, and the gravest
of them decides. What is not understood is L2; nothing that is found later lowers a level.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from tree_sitter import Node

from core.protected import ProtectedPaths
from core.risk import Level
from core.shell.commands import judge_command
from core.shell.findings import MOST_NESTED, Findings, shown
from core.shell.grammar import Command, Loop, Script, descendants, odd_characters, parse
from core.shell.paths import HARMLESS_DEVICES, check_words
from core.shell.variables import check_variables, loop_values, own_variables
from core.shell.wipes import SUSPECTS, check_wipe, is_fork_bomb
from core.shell.words import HOME, Word, WordReader, literal
from core.shell.wrappers import SHELLS

LONGEST = 20_000
"""Characters of text that is judged; longer text waits for a human unread."""
_MOST_REASONS = 8
_MOST_ROUNDS = 40
"""Of loops inside each other that are judged value by value."""
_MOST_PLACES = 24
_MOVES = frozenset({"cd", "pushd"})
_OPTION = re.compile(r"--?[A-Za-z-]+=?(?=/)")
_MAY_MOVE = frozenset({"git", "make", "tar", "env", "sudo", "su", "find"})
"""They take a directory to stand in as an option."""
_CHUNKS = re.compile(r"[;&|\n(){}`]+|\$\(")
_MOST_CHUNKS = 200
_NONE: Mapping[str, Level] = MappingProxyType({})
_DUPLICATE = re.compile(r"\d*[<>]&(?:\d+|-)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a text would do, at worst."""

    level: Level
    reasons: tuple[str, ...] = ()
    """Half sentences, the gravest first; none for what only reads."""
    undo: str = ""
    """How to undo it, for well known changes."""
    sudo: bool = False
    """Whether it asks for another user's rights."""


def judge(text: str, protected: ProtectedPaths, *, raised: Mapping[str, Level] = _NONE) -> Judged:
    """Judge shell text; never raises. ``raised`` are a team's least levels by program name."""
    findings = _findings(protected, raised)
    if len(text) > LONGEST:
        findings.add(Level.L2, f"it is longer than {LONGEST} characters")
        text = text[:LONGEST]
    findings.text(text)
    return _judged(findings)


def argv_level(
    argv: Sequence[str], protected: ProtectedPaths, *, raised: Mapping[str, Level] = _NONE
) -> Level:
    """The level of a command that no shell reads."""
    findings = _findings(protected, raised)
    for word in argv:
        if odd := odd_characters(word):
            findings.add(Level.L2, odd)
    if argv and sum(map(len, argv)) <= LONGEST:
        judge_command([literal(word) for word in argv], findings)
    else:
        findings.add(Level.L2, "it is empty or too long to be judged")
    return findings.level


def _findings(protected: ProtectedPaths, raised: Mapping[str, Level]) -> Findings:
    return Findings(
        protected=protected, raised=raised, judge_text=_judge_text, judge_command=judge_command
    )


def _judged(findings: Findings) -> Judged:
    ordered = sorted(findings.found, key=lambda each: -each[0])
    changes = [reason for level, reason in ordered if level > Level.L0]
    return Judged(
        level=findings.level,
        reasons=tuple(dict.fromkeys(changes))[:_MOST_REASONS],
        undo="; ".join(dict.fromkeys(reversed(findings.undo))) if len(findings.undo) < 4 else "",  # noqa: PLR2004  # more is no hint
        sudo=findings.sudo,
    )


def _judge_text(text: str, findings: Findings) -> None:
    """Judge one text into the findings; texts inside it come back here."""
    if odd := odd_characters(text):
        findings.add(Level.L2, odd)
    script = parse(text.replace("\0", ""))
    for reason in script.odd[:4]:
        findings.add(Level.L2, reason)
    if findings.depth + script.depth > MOST_NESTED:
        findings.add(Level.L2, "it is nested too deeply to be judged")
        return
    if script.background:
        findings.add(Level.L2, "it leaves a process behind in the background (`&`)")
    outer = findings.functions, findings.variables
    findings.functions, findings.variables = set(), findings.variables | own_variables(script)
    _collect_places(script, findings)
    _check_functions(script, findings)
    check_variables(script, findings)
    for command in script.commands:
        _judge_one(script, command, findings)
    if script.broken:
        _search_broken(text, findings)
    for inner in script.texts[:8]:
        findings.text(inner)
    for node, loops in script.redirects:
        _check_redirect(script, node, loops, findings)
    for node in (*script.tests, *script.declarations):
        words = [WordReader(script.data, {}).word(each) for each in _leaves(node)]
        check_words(words, findings, names_only=True, devices=True)
    findings.functions, findings.variables = outer


def _search_broken(text: str, findings: Findings) -> None:
    """Of text that the grammar cannot read, only what nobody may run is of interest."""
    for chunk in _CHUNKS.split(text)[:_MOST_CHUNKS]:
        words = [literal(word.strip("\"'")) for word in chunk.split()]
        check_words(words, findings, names_only=True, devices=True)
        for index, word in enumerate(words[:_MOST_CHUNKS]):
            name = word.value.rpartition("/")[2]
            if name in SUSPECTS or name.startswith("mkfs"):
                check_wipe(name, words[index : index + _MOST_CHUNKS], findings)


def _leaves(node: Node) -> list[Node]:
    kinds = {"word", "string", "raw_string", "concatenation", "ansi_c_string"}
    return [each for each in descendants(node) if each.type in kinds]


def _collect_places(script: Script, findings: Findings) -> None:
    """Where the commands may stand: every target of ``cd``, from every place before."""
    plain = WordReader(script.data, {})
    for command in script.commands:
        words = [plain.word(node) for node in command.words[:12]]
        names = [word.value.rpartition("/")[2] for word in words]
        moves = bool(_MOVES.intersection(names))
        if not moves and not _MAY_MOVE.intersection(names):
            continue
        for word in words[1:]:
            target = word.value.replace(HOME, "/root")
            if not moves:
                target = _OPTION.sub("", target)
            if moves and not word.value.startswith("-") and (word.glob or word.braces):
                findings.add(Level.L2, f"{shown(words)} goes where is only known when it runs")
            if not moves and not target.startswith("/"):
                continue
            if target.startswith(("/", "~")):
                new = [target]
            else:
                new = [f"{each}/{target}" for each in ("/root", "", *findings.dirs)]
            findings.dirs += [each for each in dict.fromkeys(new) if each not in findings.dirs]
            if len(findings.dirs) > _MOST_PLACES:
                findings.add(Level.L2, "it goes to more places than can be followed")
                del findings.dirs[_MOST_PLACES:]
                return


def _check_functions(script: Script, findings: Findings) -> None:
    calls: dict[str, set[str]] = {}
    spreads = set()
    for name, node in script.functions.items():
        below = list(descendants(node))
        calls[name] = {script.source(each) for each in below if each.type == "command_name"}
        body = script.source(node)
        if "|" in body or re.search(r"&(?![&>])", body):
            spreads.add(name)
        if node.parent is not None and node.parent.type == "program":
            findings.functions.add(name)
        if name in calls[name]:
            findings.add(Level.L2, f"`{name[:40]}` calls itself")
    if name := is_fork_bomb(calls, spreads):
        findings.add(Level.L3, f"`{name[:40]}` starts itself without end (a fork bomb)")


def _judge_one(script: Script, command: Command, findings: Findings) -> None:
    for values in _rounds(script, command.loops):
        reader = WordReader(script.data, values)
        words = [reader.word(node) for node in command.words]
        if not words:
            continue
        for word in words[1:]:
            if word.odd or word.braces:
                findings.add(Level.L2, f"{shown([word])} is written in disguise")
        known = findings.functions
        defined = script.functions.get(words[0].value)
        if defined is None or defined.end_byte > command.node.start_byte:
            findings.functions = set()
        judge_command(words, findings)
        findings.functions = known
        if words[0].value.rpartition("/")[2] in SHELLS and len(words) == 1:
            _judge_input(script, command, findings)


def _judge_input(script: Script, command: Command, findings: Findings) -> None:
    """What a bare shell is fed, where it stands in the text."""
    if command.fed is not None:
        findings.text(command.fed)
    if command.before is not None and command.before.type == "command":
        reader = WordReader(script.data, {})
        words = [reader.word(node) for node in command.before.named_children]
        if words[0].value in {"echo", "printf"}:
            findings.text(" ".join(word.shown() for word in words[1:]))


def _rounds(script: Script, loops: tuple[Loop, ...]) -> list[dict[str, str]]:
    """The values of the loops' variables, one dictionary per round."""
    names, choices = [], []
    for loop in loops:
        values = loop_values(script, loop)
        if values:
            names.append(script.source(loop.variable))
            choices.append(values)
    count = 1
    for each in choices:
        count *= len(each)
    if count > _MOST_ROUNDS or len(set(names)) < len(names):
        return [{}]
    return [dict(zip(names, each, strict=True)) for each in product(*choices)]


def _check_redirect(
    script: Script, node: Node, loops: tuple[Loop, ...], findings: Findings
) -> None:
    targets = node.children_by_field_name("destination")[:1]
    for values in _rounds(script, loops):
        reader = WordReader(script.data, values)
        for target in targets:
            word = reader.word(target)
            between = script.data[node.start_byte : target.start_byte].decode("utf-8", "replace")
            _check_target(word, between, findings)


def _check_target(word: Word, operator: str, findings: Findings) -> None:
    check_words([word], findings, names_only=False, devices=False)
    if not word.known or word.odd:
        findings.add(Level.L2, f"{shown([word])} is redirected to and only known when it runs")
    if ">" not in operator or word.value in HARMLESS_DEVICES:
        return
    if _DUPLICATE.fullmatch(operator.strip() + word.value):
        return
    findings.add(Level.L2, f"it writes the file {shown([word])}")
