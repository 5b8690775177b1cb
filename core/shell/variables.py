"""Variables of a text: which it sets itself, what they may hold, which may be shown."""

from __future__ import annotations

import re

from tree_sitter import Node

from core.risk import Level
from core.shell.findings import Findings, shown
from core.shell.grammar import Loop, Script, descendants
from core.shell.running import check_assignment
from core.shell.words import WordReader
from core.shell.wrappers import SHOWN_VARIABLES

_EXPANSION = re.compile(
    r"\$\{#?(?P<name>\w+|[?#$!@*])(?:(?::?[-+?=]|##?|%%?|//?|\^\^?|,,?).*)?\}"
    r"|\$(?P<plain>\w+|[?#$!@*-])",
    re.DOTALL,
)
_SAFE_VALUE = re.compile(r"[\w./@:%+][\w./@:%+-]*")
_CLOSED = frozenset(
    {"string", "raw_string", "command_substitution", "expansion", "arithmetic_expansion"}
)
_NUMBER = re.compile(r"-?\d{1,18}")
_SETS = frozenset(
    {"read", "printf", "getopts", "mapfile", "readarray", "unset", "eval", "source", ".", "declare",
     "local", "typeset", "export", "readonly", "let"}
)  # fmt: skip
_MOST_VALUES = 20
_ARITHMETIC_TESTS = ("-eq", "-ne", "-lt", "-le", "-gt", "-ge")


def own_variables(script: Script) -> set[str]:
    """Names that the text sets: they hold nothing that was secret before."""
    names = {script.source(loop.variable) for loop in script.loops}
    for node, _ in script.assignments:
        name = node.child_by_field_name("name")
        names.add(script.source(name) if name else "")
    for command in script.commands:
        texts = [script.source(node) for node in command.words]
        if texts[:1] == ["read"]:
            names.update(text for text in texts[1:] if not text.startswith("-"))
    return names


def check_variables(script: Script, findings: Findings) -> None:
    """Note assignments, expansions, tests and arithmetic that can do more than they seem to."""
    _assignments(script, findings)
    for node in script.expansions:
        source = script.source(node)
        match = _EXPANSION.fullmatch(source)
        name = (match["name"] or match["plain"]) if match else ""
        shown_name = f"`{' '.join(source.split())[:40]}`"
        if not match:
            findings.add(Level.L2, f"{shown_name} is an unusual way to use a variable")
        elif not (
            name.isdigit() or name in SHOWN_VARIABLES or name in findings.variables | {"@", "*"}
        ):
            findings.add(Level.L2, f"{shown_name} may hold a secret; it is not set here")
    for node in script.tests:
        _test(script, node, findings)
    for node in script.arithmetic:
        _arithmetic(script, node, findings)
    for node in script.declarations:
        _declaration(script, node, findings)


def _assignments(script: Script, findings: Findings) -> None:
    reader = WordReader(script.data, {})
    for node, prefix in script.assignments:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or name.type != "variable_name" or (value and value.type == "array"):
            findings.add(Level.L2, "it sets an element of an array")
            continue
        word = reader.word(value) if value else None
        if word is not None and (word.odd or word.braces):
            findings.add(Level.L2, f"{shown([word])} is written in disguise")
        text = word.value if word else ""
        check_assignment(script.source(name), text, findings, prefix=prefix)


def _test(script: Script, node: Node, findings: Findings) -> None:
    source = script.source(node)
    bare = _bare(script, node)
    if re.search(r"[;&|\n<>`]", bare):
        script.broken = True
        findings.add(Level.L2, "a test holds operators that another shell reads as commands")
    if not source.startswith("[["):
        if re.search(r"(?:^|\s)-[vR]\s", source):
            findings.add(Level.L2, "it looks into a variable by a name")
        return
    calculates = any(f" {test} " in source for test in _ARITHMETIC_TESTS)
    if (calculates and "$" in source) or re.search(r"\s-[vR]\s", source):
        findings.add(Level.L2, "`[[` calculates with a text that may run something")


def _bare(script: Script, node: Node) -> str:
    """A test without its quoted texts and substitutions; the grammar may take it too far."""
    text, position = "", node.start_byte
    inner = [each for each in descendants(node) if each.type in _CLOSED]
    for each in sorted(inner, key=lambda one: one.start_byte):
        if each.start_byte >= position:
            text += script.data[position : each.start_byte].decode("utf-8", "replace") + "_"
            position = each.end_byte
    return text + script.data[position : node.end_byte].decode("utf-8", "replace")


def _arithmetic(script: Script, node: Node, findings: Findings) -> None:
    """Bash runs what a subscript in a value holds, so its variables must be numbers."""
    if "[" in script.source(node).removeprefix("$["):
        findings.add(Level.L2, "it calculates with an element of an array")
    names = {
        script.source(each) for each in descendants(node) if each.type in {"variable_name", "word"}
    }
    for name in sorted(each for each in names if not _NUMBER.fullmatch(each)):
        if name not in findings.variables or not _is_number(script, name):
            findings.add(Level.L2, f"`{name[:40]}` is calculated with and may not be a number")


def _is_number(script: Script, name: str) -> bool:
    if any(script.source(loop.variable) == name for loop in script.loops):
        return False
    reader = WordReader(script.data, {})
    if any(
        script.source(command.words[0]) in _SETS for command in script.commands if command.words
    ):
        return False
    for node, _ in script.assignments:
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if target is None or script.source(target) != name:
            continue
        if value is None:
            return False
        if value.type != "arithmetic_expansion" and not _NUMBER.fullmatch(reader.word(value).value):
            return False
    return True


def _declaration(script: Script, node: Node, findings: Findings) -> None:
    source = script.source(node)
    word = source.split(None, 1)[0] if source.split() else ""
    if word in {"local", "readonly"} and not re.search(r"\s-", source):
        return
    if word == "unset" and re.fullmatch(r"unset(?:\s+[a-z][a-z0-9_]*)+", source):
        return
    if word == "export" and re.fullmatch(r"export(?:\s+(?:LC_\w+|LANG|TZ)=[\w.-]*)+", source):
        return
    findings.add(Level.L2, f"`{' '.join(source.split())[:60]}` changes how later commands run")


def loop_values(script: Script, loop: Loop) -> list[str]:
    """The values of a loop's variable, when nothing else sets it and all are known and plain."""
    name = script.source(loop.variable)
    reader = WordReader(script.data, {})
    words = [reader.word(node) for node in loop.values]
    if not 0 < len(words) <= _MOST_VALUES or not all(word.known for word in words):
        return []
    values = [word.value for word in words]
    if not all(_SAFE_VALUE.fullmatch(value) for value in values) or _set_elsewhere(script, name):
        return []
    return values


def _set_elsewhere(script: Script, name: str) -> bool:
    if sum(script.source(loop.variable) == name for loop in script.loops) > 1:
        return True
    if any(script.source(each.words[0]) in _SETS for each in script.commands if each.words):
        return True
    if script.declarations or script.arithmetic:
        return True
    text = script.data.decode("utf-8", "replace")
    return bool(re.search(rf"(?<!\w){re.escape(name)}(?:\[[^\]]*\])?\s*(?::?=|\+=)", text))
