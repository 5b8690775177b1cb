"""Words of a command as the shell would read them, as far as that is known before it runs.

A word keeps what quoting left of it, with marks (characters of a private area, which the text
itself may not hold) where the shell would put something in: a variable, a glob, a brace list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from tree_sitter import Node

DYN = "\ue000"
"""Something only known when it runs: a variable, a substitution."""
STAR, ANY, CLASS = "\ue001", "\ue002", "\ue003"
"""``*``, ``?`` and ``[`` where they are patterns."""
BRACE = "\ue004"
"""``{`` of a list such as ``{a,b}``."""
HOME = "\ue005"
"""The home directory: ``~`` or ``$HOME``."""

_SHOWN = str.maketrans({DYN: "$", STAR: "*", ANY: "?", CLASS: "[", BRACE: "{", HOME: "~"})
_GLOBS = str.maketrans({"*": STAR, "?": ANY, "[": CLASS, "{": BRACE})
_ESCAPE = re.compile(
    r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|.)", re.DOTALL
)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b"}
_LIST = re.compile(BRACE + r"([^{}" + BRACE + r"]*(?:,|\.\.)[^{}" + BRACE + r"]*)\}")
_TILDE = re.compile(r"~(?:[A-Za-z_][\w.-]*|[+-])?(?=/|$)")
_HOME_VARIABLE = frozenset({"$HOME", "${HOME}"})
_MOST_ALTERNATIVES = 24
_MOST_LISTS = 6


@dataclass(frozen=True, slots=True)
class Word:
    """One word: ``value`` with marks, and how it was written."""

    value: str
    plain: bool = True
    """Written without quotes, escapes or anything that the shell replaces."""
    odd: bool = False
    """Written in an encoding that honest commands do not need, such as ``$'\\x72m'``."""

    @property
    def dynamic(self) -> bool:
        """Whether a part is only known when it runs."""
        return DYN in self.value

    @property
    def glob(self) -> bool:
        """Whether the shell would match it against file names."""
        return any(mark in self.value for mark in (STAR, ANY, CLASS))

    @property
    def braces(self) -> bool:
        """Whether it is a brace list."""
        return BRACE in self.value

    @property
    def known(self) -> bool:
        """Whether the program gets exactly this one word."""
        return not (self.dynamic or self.glob or self.braces)

    def shown(self) -> str:
        """For a person."""
        return self.value.translate(_SHOWN)

    def alternatives(self) -> tuple[str, ...]:
        """What a brace list may become; the value itself when it is none."""
        if self.value.count(BRACE) > _MOST_LISTS:
            return (self.value.replace(BRACE, "{"),)
        return tuple(islice(_expand(self.value), _MOST_ALTERNATIVES))


def words_of(text: str) -> frozenset[str]:
    """A set written as one text, as tables do."""
    return frozenset(text.split())


def literal(text: str) -> Word:
    """A word that no shell touches."""
    return Word(text)


def _expand(value: str) -> Iterator[str]:
    found = _LIST.search(value)
    if found is None:
        yield value.replace(BRACE, "{")
        return
    for choice in found[1].split(",") if "," in found[1] else (DYN,):
        yield from _expand(value[: found.start()] + choice + value[found.end() :])


class WordReader:
    """Reads words of one parsed text. ``values`` are variables whose value is known."""

    def __init__(self, data: bytes, values: Mapping[str, str]) -> None:
        """``data`` is what was parsed."""
        self._data = data
        self._values = values

    def source(self, node: Node) -> str:
        """The node as it was written."""
        return self._data[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def word(self, node: Node) -> Word:
        """The word of an argument, a command's name or a redirect's target."""
        value, plain, odd = self._parts(node, 0)
        source = self.source(node)
        if source.startswith("~"):
            value = _TILDE.sub(lambda m: HOME if len(m[0]) == 1 else m[0], value, count=1)
            plain = False
        if value in {BRACE + "}", BRACE, BRACE + "}" + BRACE + "}"} or not _LIST.search(value):
            value = value.replace(BRACE, "{")
        return Word(value, plain=plain and not odd, odd=odd)

    def _parts(self, node: Node, depth: int) -> tuple[str, bool, bool]:
        source = self.source(node)
        match node.type:
            case "word" | "number" | "test_operator" | "variable_name" | "file_descriptor":
                return self._unquoted(source)
            case "raw_string":
                return source[1:-1], False, False
            case "string":
                return self._string(node), False, source.startswith("$")
            case "ansi_c_string":
                return _decoded(source[2:-1]), False, True
            case "simple_expansion" | "expansion":
                return self._variable(source), False, False
            case "brace_expression":
                return source.replace("{", BRACE, 1), False, False
            case "command_name" | "concatenation" if depth < 8:  # noqa: PLR2004  # they do not nest
                return self._joined(node, depth)
            case "command_substitution" | "process_substitution" | "arithmetic_expansion":
                return DYN, False, False
        return DYN, False, True

    def _joined(self, node: Node, depth: int) -> tuple[str, bool, bool]:
        value, plain, odd = "", True, False
        position = node.start_byte
        for child in node.named_children:
            gap = self._data[position : child.start_byte].decode("utf-8", "replace")
            part = self._parts(child, depth + 1)
            value += gap + part[0]
            plain = plain and part[1]
            odd = odd or part[2] or bool(gap)
            position = child.end_byte
        rest = self._data[position : node.end_byte].decode("utf-8", "replace")
        return value + rest, plain, odd or bool(rest)

    @staticmethod
    def _unquoted(source: str) -> tuple[str, bool, bool]:
        if "\\" not in source:
            return source.translate(_GLOBS), True, False
        value, escaped = "", False
        for char in source:
            if escaped:
                value += "" if char == "\n" else char
                escaped = False
            elif char == "\\":
                escaped = True
            else:
                value += char.translate(_GLOBS)
        return value, False, False

    def _variable(self, source: str) -> str:
        if source in _HOME_VARIABLE:
            return HOME
        return self._values.get(source.strip("${}"), DYN)

    def _string(self, node: Node) -> str:
        """The grammar drops blanks between expansions, so the text between them is taken whole."""
        start = node.start_byte + (2 if self.source(node).startswith("$") else 1)
        value = ""
        for child in node.named_children:
            if child.type == "string_content":
                continue
            value += self._quoted(start, child.start_byte)
            value += self._parts(child, 1)[0]
            start = child.end_byte
        return value + self._quoted(start, node.end_byte - 1)

    def _quoted(self, start: int, end: int) -> str:
        text = self._data[start:end].decode("utf-8", "replace")
        return re.sub(r"\\([$`\"\\\n])", lambda m: "" if m[1] == "\n" else m[1], text)


def _decoded(text: str) -> str:
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU" and len(code) > 1:
        return _chr(int(code[1:], 16))
    if code[0] in "01234567":
        return _chr(int(code, 8))
    return _LETTERS.get(code, code)


def _chr(number: int) -> str:
    surrogate = 0xD800 <= number < 0xE000  # noqa: PLR2004  # no character of its own
    return DYN if surrogate or number > 0x10FFFF or number == 0 else chr(number)  # noqa: PLR2004
