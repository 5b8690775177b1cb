"""Parses shell text and collects its commands, redirects, assignments and functions.

tree-sitter-bash accepts more than a shell does and splits some words differently, so whatever
the tree does not cover, and whatever it could have read otherwise, is noted as odd (L2).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from core.shell.words import words_of

NESTING = frozenset(
    {
        "subshell",
        "compound_statement",
        "command_substitution",
        "process_substitution",
        "if_statement",
        "while_statement",
        "for_statement",
        "case_statement",
        "function_definition",
        "arithmetic_expansion",
        "expansion",
        "parenthesized_expression",
    }
)
_KNOWN = NESTING | words_of(
    """program list pipeline do_group elif_clause else_clause case_item negated_command
    redirected_statement command command_name word string raw_string string_content concatenation
    simple_expansion variable_name special_variable_name binary_expression unary_expression
    postfix_expression ternary_expression number comment file_descriptor test_operator
    heredoc_redirect heredoc_start heredoc_body heredoc_end heredoc_content herestring_redirect
    file_redirect variable_assignments variable_assignment brace_expression unset_command
    declaration_command test_command ansi_c_string translated_string extglob_pattern regex
    """
)
_RISKY_SPELLING = frozenset({"comment", "word", "compound_statement"})
_ODD_SPACE = re.compile(r"\S\\\n|\n[ \t]*\\\n")
"""A line continued inside a word, or an empty one: the grammar joins what a shell does not."""
_LETTERS = bytes(range(128)) + b"x" * 128
"""Beyond ASCII every byte is a letter to the grammar, as it is to a shell. Its scanner asks C's
tables of characters (``isalpha``), which end at 255: with an emoji it reads behind them, and the
process dies. Places stay the same, and ``Script.source`` has the text as it was written."""
_GAP = re.compile(rb"(?:[ \t]|\\\n)+")
_SUBSTITUTIONS = frozenset({"command_substitution", "arithmetic_expansion"})
_HEREDOC_NAME = re.compile(r"([A-Za-z_]\w*)|'([A-Za-z_]\w*)'|\"([A-Za-z_]\w*)\"")


@dataclass(slots=True, kw_only=True)
class Loop:
    """A ``for`` with what its variable takes."""

    variable: Node
    values: list[Node]


@dataclass(slots=True, kw_only=True)
class Command:
    """One command: its nodes, where it stands, and what it is fed."""

    words: list[Node]
    node: Node
    loops: tuple[Loop, ...] = ()
    before: Node | None = None
    """The stage before it in a pipeline."""
    fed: str | None = None
    """The here-document that is its input."""


@dataclass(slots=True, kw_only=True)
class Script:
    """What one text holds, in the order of the text."""

    data: bytes
    odd: list[str] = field(default_factory=list)
    """Why it cannot be trusted to be read as a shell would."""
    commands: list[Command] = field(default_factory=list)
    redirects: list[tuple[Node, tuple[Loop, ...]]] = field(default_factory=list)
    assignments: list[tuple[Node, bool]] = field(default_factory=list)
    """With whether it stands before a command."""
    expansions: list[Node] = field(default_factory=list)
    tests: list[Node] = field(default_factory=list)
    arithmetic: list[Node] = field(default_factory=list)
    declarations: list[Node] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    functions: dict[str, Node] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    """Texts that must be judged besides, because the tree does not hold them."""
    background: bool = False
    broken: bool = False
    """The grammar could not read all of it."""
    depth: int = 0

    def source(self, node: Node) -> str:
        """The node as it was written."""
        return self.data[node.start_byte : node.end_byte].decode("utf-8", "replace")


@cache
def _language() -> Language:
    return Language(tree_sitter_bash.language())


def odd_characters(text: str) -> str:
    """Why the characters alone make a text suspicious, as half a sentence, or empty."""
    for char in text:
        if char in "\n\t" or " " <= char <= "~":
            continue
        category = unicodedata.category(char)
        if category[0] in "CZ":
            return "it holds characters that cannot be seen"
    return ""


def parse(text: str) -> Script:
    """Parse a text; never raises."""
    data = text.encode("utf-8", "replace")
    script = Script(data=data)
    root = Parser(_language()).parse(data.translate(_LETTERS)).root_node
    script.broken = root.has_error
    if script.broken:
        script.odd.append("part of it is no valid shell text, so it cannot be judged")
    if _ODD_SPACE.search(text):
        script.odd.append("a line is continued in the middle of a word")
    _Collector(script).collect(root)
    return script


class _Collector:
    """Walks a tree without recursion: a text of 20,000 characters can be as deep as it is long."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._before: dict[int, Node] = {}
        self._fed: dict[int, str] = {}
        self._more: dict[int, list[Node]] = {}
        self._kept = {
            "simple_expansion": script.expansions,
            "expansion": script.expansions,
            "test_command": script.tests,
            "arithmetic_expansion": script.arithmetic,
            "declaration_command": script.declarations,
            "unset_command": script.declarations,
        }

    def collect(self, root: Node) -> None:
        stack: list[tuple[Node, int, tuple[Loop, ...]]] = [(root, 0, ())]
        while stack:
            node, depth, loops = stack.pop()
            self._script.depth = max(self._script.depth, depth)
            self._note(node, loops)
            inner = loops
            if node.type == "for_statement" and (loop := self._loop(node)):
                inner = (*loops, loop)
            deeper = depth + (node.type in NESTING)
            for child in reversed(node.children):
                if child.is_named:
                    within = inner if child.type == "do_group" else loops
                    stack.append((child, deeper, within))
                elif child.type == "&":
                    self._script.background = True

    def _loop(self, node: Node) -> Loop | None:
        variable = node.child_by_field_name("variable")
        if variable is None:
            return None
        loop = Loop(variable=variable, values=node.children_by_field_name("value"))
        self._script.loops.append(loop)
        return loop

    def _note(self, node: Node, loops: tuple[Loop, ...]) -> None:
        script = self._script
        kept = self._kept.get(node.type)
        if kept is not None:
            kept.append(node)
        elif node.type in _RISKY_SPELLING or node.type not in _KNOWN:
            self._doubt(node)
        match node.type:
            case "command":
                self._command(node, loops)
            case "pipeline":
                self._pipeline(node)
            case "redirected_statement":
                self._redirected(node)
            case "file_redirect" | "heredoc_redirect":
                script.redirects.append((node, loops))
                if node.type == "heredoc_redirect":
                    self._heredoc(node)
            case "variable_assignment" | "function_definition":
                self._definition(node)

    def _definition(self, node: Node) -> None:
        script = self._script
        if node.type == "variable_assignment":
            prefix = node.parent is not None and node.parent.type == "command"
            script.assignments.append((node, prefix))
        else:
            name = node.child_by_field_name("name")
            script.functions[script.source(name) if name else ""] = node

    def _doubt(self, node: Node) -> None:
        script = self._script
        if node.type == "comment":
            self._comment(node)
        elif node.type == "word":
            if not script.source(node).isascii():
                script.odd.append("a word holds letters that may look like others")
        elif node.type == "compound_statement":
            if script.data.startswith(b"((", node.start_byte):
                script.odd.append("`((` means something else in another shell")
        else:
            kind = node.type.lower()[:24]
            script.odd.append(f"it holds a construct that is not judged ({kind})")

    def _command(self, node: Node, loops: tuple[Loop, ...]) -> None:
        for child in node.named_children:
            if child.type == "herestring_redirect":
                self._herestring(child)
        words = [
            child
            for child in node.named_children
            if child.type
            not in {"variable_assignment", "file_redirect", "herestring_redirect", "comment"}
            and child.type != "heredoc_redirect"
        ]
        self._check_gaps([child for child in node.named_children if child.type != "comment"])
        words += self._more.get(node.id, [])
        found = Command(words=words, node=node, loops=loops)
        found.before = self._before.get(node.id)
        found.fed = self._fed.get(node.id)
        self._script.commands.append(found)

    def _check_gaps(self, nodes: list[Node]) -> None:
        for first, second in pairwise(nodes):
            gap = self._script.data[first.end_byte : second.start_byte]
            joins = "redirect" in first.type or "redirect" in second.type
            if not _GAP.fullmatch(gap) and (gap or not joins):
                self._script.odd.append("a word is put together in an unusual way")

    def _pipeline(self, node: Node) -> None:
        stages = [_core(child) for child in node.named_children]
        for first, second in pairwise(stages):
            self._before[second.id] = first

    def _herestring(self, node: Node) -> None:
        if node.parent is not None and node.named_children:
            self._fed[node.parent.id] = self._script.source(node.named_children[-1]).strip("'\"")

    def _redirected(self, node: Node) -> None:
        """The grammar takes words after a redirect for more targets; they are arguments."""
        body = node.child_by_field_name("body")
        if body is None:
            return
        for redirect in node.children_by_field_name("redirect"):
            targets = redirect.children_by_field_name("destination")
            self._more.setdefault(body.id, []).extend(targets[1:])
            self._check_gaps(targets)
            self._more[body.id] += redirect.children_by_field_name("argument")
            if redirect.type == "heredoc_redirect":
                for child in redirect.named_children:
                    if child.type == "heredoc_body":
                        self._fed[body.id] = self._script.source(child)

    def _comment(self, node: Node) -> None:
        before = self._script.data[: node.start_byte][-2:].decode("utf-8", "replace")
        if before and (before[-1] not in " \t\n;" or before[0] == "\\"):
            self._script.odd.append("a comment begins in an unusual place")

    def _heredoc(self, node: Node) -> None:
        """The end that the grammar found must be the first line that is the mark alone."""
        start = next((c for c in node.named_children if c.type == "heredoc_start"), None)
        end = next((c for c in node.named_children if c.type == "heredoc_end"), None)
        name = _HEREDOC_NAME.fullmatch(self._script.source(start)) if start else None
        if start is None or end is None or name is None:
            self._script.odd.append("a here-document has an unusual mark")
            return
        if name[1]:
            self._filled(node)
        mark = next(filter(None, name.groups()))
        lines = self._script.data.decode("utf-8", "replace").split("\n")
        tabs = self._script.source(node).startswith("<<-")
        first = next(
            (
                row
                for row, line in enumerate(lines)
                if row > start.start_point.row and (line.lstrip("\t") if tabs else line) == mark
            ),
            -1,
        )
        if first != end.start_point.row or self._script.source(node).count("<<") > 1 + sum(
            line.count("<<") for line in lines[start.start_point.row + 1 : end.start_point.row]
        ):
            self._script.odd.append("a here-document ends in an unusual place")

    def _filled(self, node: Node) -> None:
        """The grammar does not see every substitution of a here-document."""
        body = next((c for c in node.named_children if c.type == "heredoc_body"), None)
        text = self._script.source(body) if body else ""
        seen = [c for c in descendants(node) if c.type in _SUBSTITUTIONS] if "$(" in text else []
        if "`" in text or text.count("$(") > len(seen):
            self._script.odd.append("a here-document runs something that cannot be judged")
            self._script.texts.append('echo "' + text.replace('"', "'") + '"')


def _core(node: Node) -> Node:
    """The command of a stage, without its redirects."""
    while node.type in {"redirected_statement", "negated_command"} and node.named_children:
        node = node.child_by_field_name("body") or node.named_children[0]
    return node


def descendants(node: Node) -> Iterator[Node]:
    """The named nodes below a node, in no promised order."""
    stack = list(node.named_children)
    while stack:
        each = stack.pop()
        yield each
        stack += each.named_children
