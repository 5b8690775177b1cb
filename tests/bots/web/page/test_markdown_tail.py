"""Markdown while it streams: blocks that stay, and ends without raw syntax."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import playwright
import pytest

from bots.web.pages import FOLDER

NODE: Final = Path(playwright.__file__).parent / "driver" / "node"
DRIVER: Final = Path(__file__).with_name("markdown_tail.mjs")

PIECES: Final = (
    "# A title\n",
    "## With `code` and **bold**\n",
    "A paragraph with **bold**, *slanted*, ***both***, ~~gone~~ and `code`.\n",
    "One of __two__ words, a snake_case_name and 2 * 3 = 6.\n",
    "Lines that\ngo on\nfor long.\n",
    "A [link](https://a.example/x_(y)) and [**bold** one](https://b.example 'T').\n",
    "A picture ![of *it*](https://c.example/p.png) and <https://d.example/a?b=c>.\n",
    "Bare https://e.example/path, then more; a\\*b and &amp; and a \\[bracket].\n",
    "``a ` tick`` and **bold `with code` in it** end.\n",
    "**重要：**请注意。这是`代码`，见[手册](https://f.example)。\n",  # noqa: RUF001 - Chinese
    "- one\n- two\n  - three\n\n  more of two\n- four\n",
    "1. one\n2. two\n\n3. three\n   ```sh\n   ls -l\n   ```\n",
    "10. ten\n11. eleven\n",
    "- [ ] open *task*\n- [x] done\n",
    "> quoted **bold**\n> more\n>\n> - in it\n> - again\n",
    "> > deep\n\n",
    "```python\nif a:\n    # b\n    print('**')\n```\n",
    "~~~\n``` | - # 1.\n~~~\n",
    "| a | b |\n|---|:-:|\n| **x** | `y` |\n| 1 | 2 |\n",
    "| a |\n|---|\n| one<br>two |\n",
    "| 一 | 二 |\n|----|----|\n| [甲](https://g.example) | 乙 |\n",
    "    indented\n    code\n\n    more\n",
    "***\n",
    "---\n",
    "Setext\n======\n",
    "+ plus\n+ list\n",
    "* star *and* list\n* **second**: text\n",
    "1) bracket\n2) list\n",
    "- item\n\n  | a | b |\n  |---|---|\n  | 1 | `x \\| y` |\n- next\n",
    "> ```sh\n> ls **x**\n> ```\n> after\n",
    "[`code`](https://a.example/x) and **[bold](https://b.example)**, *[it](https://c.example)*\n",
    "[![alt](https://a.example/i.png)](https://b.example) [a](<https://a.example/x> 't (u)')\n",
    "Array[0] and [INFO] started; https://a.example/a_b_c*d and 5 < 6 & 7 > 3.\n",
    "2026 was a year\n3.5 is a number\n-5 degrees\n+1 agreed\n#hashtag here\n",
    "- [ ]\n- [y] e\n- [link](https://a.example) f\n",
)
"""Well-formed parts, as an answer has them."""

SCRAPS: Final = (
    *("*", "**", "_", "__", "`", "``", "```", "~~", "~~~", "[", "]", "(", ")", "](", "![", "<"),
    *(">", "> ", "- ", "+ ", "1. ", "2. ", "# ", "|", "|-", "\n", "\n\n", "\n  ", "\n    ", "\\"),
    *("&", "&amp;", "a", "b c", "https://x.example", "[a]: https://x.example\n", "===", "---", ":"),
    *("\t", " ", "- [ ] ", "| a | b |\n|---|---|\n", "重要", "：", "\u202e", "é", "😀", "\r\n"),  # noqa: RUF001 - Chinese
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the driver said of one document."""

    same: bool
    changed: int
    ahead: str | None
    final: str
    plain: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the driver said of everything that was asked of it."""

    documents: Mapping[str, Seen]
    held: Mapping[str, tuple[str, str]]
    links: Mapping[tuple[str, str], Mapping[str, str | bool]]
    hidden: Mapping[str, str]


def _well_formed() -> list[str]:
    chance = random.Random(7)
    mixed = ["\n".join(chance.sample(PIECES, chance.randint(2, 7))) for _ in range(12)]
    return [*PIECES, *mixed]


def _malformed() -> list[str]:
    chance = random.Random(11)
    return ["".join(chance.choices(SCRAPS, k=chance.randint(3, 40))) for _ in range(150)]


def _huge() -> dict[str, str]:
    return {
        "one line": "word **x** " * 20_000,
        "lines": "\n\n".join(f"Line **{n}**" for n in range(4_000)),
        "quotes": ">" * 20_000 + " deep",
        "lists": "".join(f"{'  ' * n}- {n}\n" for n in range(300)),
        "brackets": "[" * 50_000 + "](x)" * 1_000,
        "ticks": " ".join("`" * n for n in range(1, 300)),
        "stars": "*a **b " * 8_000,
        "cells": "|" + "a|" * 100 + "\n|" + "-|" * 100 + "\n" + "|x\n" * 70,
        "list": "- item *x*\n" * 5_500,
        "table": "| a | b |\n|---|---|\n" + "| 1 | **2** |\n" * 4_500,
        "quotation": "> line\n" * 9_000,
        "addresses": "http://" * 3_000,
        "angles": "<a" * 9_000,
        "stars in a row": "a " + "*" * 9_000 + " b http://" + "*" * 9_000 + "x",
        "blanks": "**a" + " " * 18_000 + "x `" + "`" * 900,
        "signs and brackets": "*a [b " * 3_300,
        "entities": "&#" * 9_000,
        "images": "![" * 9_000,
        "code": "```\n" + "x = 1\n" * 20_000 + "```\nend",
    }


HELD: Final = {
    "text\n#": "text\n",
    "text\n## ": "text\n",
    "text\n## a": "text\n## a",
    "text\n-": "text\n",
    "text\n--": "text\n",
    "text\n- a": "text\n- a",
    "text\n1": "text\n",
    "text\n1.": "text\n",
    "text\n1. a": "text\n1. a",
    "text\n`": "text\n",
    "text\n``": "text\n",
    "text\n```py": "text\n",
    "text\n```py\n": "text\n```py\n",
    "text\n`a": "text\n`a",
    "text\n===": "text\n",
    "- a\n  - [": "- a\n",
    "- a\n- [ ]": "- a\n",
    "- [x] a": "- [x] a",
    "> - ": "",
    "| a": "",
    "\n| a": "\n",
    "| a | b |\n": "",
    "| a | b |\n|--": "",
    "| a | b |\n|--|--|\n": "| a | b |\n|--|--|\n",
    "| a | b |\ntext": "| a | b |\ntext",
    "| a |\n\n": "| a |\n\n",
    "- | a |\n  |-": "",
}
HEALED: Final = {
    "a **b": "a **b**",
    "a **b*": "a **b**",
    "a **b**": "a **b**",
    "a **": "a ",
    "a ***b c": "a ***b c***",
    "a **b *c": "a **b *c***",
    "a `b": "a `b`",
    "a ``b`": "a ``b``",
    "a `": "a ",
    "a **[b": "a",
    "a [b\\": "a ",
    "[" + "long " * 80 + "**b": "[" + "long " * 80 + "**b**",
    "https://a.example/x_y*z": "https://a.example/x_y*z",
    "**https://a.example/x": "**https://a.example/x**",
    "a ~~b": "a ~~b~~",
    "a [b": "a ",
    "a [b]": "a ",
    "a [b](": "a b",
    "a [b](https://x": "a b",
    "a [b](https://x 'ti": "a b",
    "a [b](https://x)": "a [b](https://x)",
    "a [b] c": "a [b] c",
    "a **[b](ht": "a **b**",
    "a ![b](ht": "a b",
    "a !": "a ",
    "Done!": "Done!",
    "a <htt": "a ",
    "a &am": "a ",
    "a \\": "a ",
    "a \\*b": "a \\*b",
    "2 * 3": "2 * 3",
    "snake_case_name": "snake_case_name",
    "*.log files": "*.log files",
    "**重要：**请": "**重要：**请",  # noqa: RUF001 - Chinese
    "a `b*c` **d": "a `b*c` **d**",
    "[" + "long " * 80: "[" + "long " * 80,
}
LINKS: Final[dict[tuple[str, str], str]] = {
    ("here", "https://a.example/x"): "followed",
    ("https://a.example/x", "https://a.example/x"): "followed",
    ("a.example", "https://www.a.example/x"): "followed",
    ("version 1.2.3", "https://a.example"): "followed",
    ("bank.example", "https://evil.example"): "shown",
    ("https://bank", "https://evil.example"): "shown",
    ("HTTPS://BANK.EXAMPLE/login", "https://evil.example"): "shown",
    ("bank.example.evil.example", "https://bank.example"): "shown",
    ("https://bank.example@evil.example", "https://bank.example@evil.example"): "shown",
    ("https://b\u0430nk.example", "https://b\u0430nk.example"): "shown",
    ("bank\u3002example", "https://evil.example"): "shown",
    ("elpmaxe.\u202eknab", "https://evil.example"): "shown",
    ("10.0.0.1", "https://10.0.0.2"): "shown",
    ("localhost", "https://evil.example"): "shown",
    ("me@bank.example", "mailto:you@evil.example"): "shown",
    ("me@bank.example", "mailto:me@bank.example"): "followed",
    ("me@bank.example", "https://evil.example"): "shown",
    ("x", "javascript:alert(1)"): "refused",
    ("x", "JaVaScRiPt:alert(1)"): "refused",
    ("x", " javascript:alert(1)"): "refused",
    ("x", "java\tscript:alert(1)"): "refused",
    ("x", "data:text/html,x"): "refused",
    ("x", "vbscript:x"): "refused",
    ("x", "file:///etc/passwd"): "refused",
    ("x", "blob:https://a.example/1"): "refused",
    ("x", "//evil.example"): "refused",
    ("x", "\\\\evil.example"): "refused",
    ("x", "/sign-in"): "refused",
    ("x", "#top"): "refused",
    ("x", ""): "refused",
    ("x", "https://"): "refused",
    ("x", "https:evil.example"): "refused",
    ("x", "https://a.example/" + "x" * 3_000): "refused",
}
HIDDEN: Final = {
    "rm -rf /tmp": "rm -rf /tmp",
    "a\u202eb": "a<U+202E>b",
    "\u2066x\u2069": "<U+2066>x<U+2069>",
    "z\u200bw\u200dj\ufeff": "z<U+200B>w<U+200D>j<U+FEFF>",
    "tab\tline\n": "tab\tline\n",
    "nul\x00esc\x1b": "nul<U+0000>esc<U+001B>",
    "tag\U000e0041": "tag<U+E0041>",
    "中文 é 😀": "中文 é 😀",
    "no\u00a0break": "no<U+00A0>break",
}


@pytest.fixture(scope="module")
def report() -> Report:
    """One process for all cases: starting it takes longer than its work."""
    chance = random.Random(3)
    documents: list[tuple[str, list[int]]] = [
        (text, list(range(1, len(text) + 1))) for text in _well_formed()
    ]
    documents += [
        (text, sorted(chance.sample(range(len(text) + 1), min(len(text), 12))))
        for text in _malformed()
    ]
    compared = len(documents)
    documents += [(text, [len(text) // 2, len(text) - 2]) for text in _huge().values()]
    held = [*HELD, *HEALED]
    asked = {
        "modules": str(FOLDER),
        "cases": [
            {"text": text, "cuts": cuts, "compare": n < compared}
            for n, (text, cuts) in enumerate(documents)
        ],
        "held": held,
        "links": list(LINKS),
        "hidden": list(HIDDEN),
    }
    ran = subprocess.run(
        [NODE, DRIVER], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    said = json.loads(ran.stdout)
    return Report(
        documents={
            text: Seen(**seen) for (text, _), seen in zip(documents, said["cases"], strict=True)
        },
        held={text: (cut, healed) for text, (cut, healed) in zip(held, said["held"], strict=True)},
        links=dict(zip(LINKS, said["links"], strict=True)),
        hidden=dict(zip(HIDDEN, said["hidden"], strict=True)),
    )


def test_the_finished_drawing_is_that_of_the_whole_text(report: Report) -> None:
    """However the text was cut, its tree is the one that the parser makes of all of it."""
    texts = [*_well_formed(), *_malformed()]
    assert [text for text in texts if not report.documents[text].same] == []


def test_closed_blocks_stay_the_same_objects(report: Report) -> None:
    """What is closed is never parsed again, so it is never drawn again."""
    texts = [*_well_formed(), *_malformed()]
    assert [text for text in texts if report.documents[text].changed] == []


def test_no_drawing_shows_what_the_final_one_does_not(report: Report) -> None:
    """Sign by sign, what is shown of a well-formed answer begins what is shown at last."""
    seen = {text: report.documents[text].ahead for text in _well_formed()}
    assert {text: ahead for text, ahead in seen.items() if ahead is not None} == {}


def test_huge_texts_are_shown_whole(report: Report) -> None:
    """What is too long or too deep is plain text; nothing of it is lost."""
    for name, text in _huge().items():
        seen = report.documents[text]
        if name == "code":
            assert seen.plain == 0
            assert seen.final.count("x=1") == 20_000
        elif name in {"one line", "lists", "quotes", "cells", "list", "table", "quotation"}:
            assert seen.plain > 0, name
        assert len(seen.final) >= 0.4 * len("".join(text.split())), name


@pytest.mark.parametrize("text", HELD)
def test_lines_whose_kind_is_not_clear_are_held_back(report: Report, text: str) -> None:
    """A marker alone is not shown before its line says what it is."""
    assert report.held[text][0] == HELD[text]


@pytest.mark.parametrize("text", HEALED)
def test_open_signs_are_closed(report: Report, text: str) -> None:
    """What is begun is drawn as what it begins to be; what is unclear waits."""
    assert report.held[text][1] == HEALED[text]


@pytest.mark.parametrize(("text", "href"), LINKS)
def test_links_lead_where_they_say(report: Report, text: str, href: str) -> None:
    """Only http, https and mailto are followed; a false text gets the real place beside it."""
    said = report.links[text, href]
    match LINKS[text, href]:
        case "followed":
            assert said["shows"] is False
        case "shown":
            assert said["shows"] is True
        case _:
            assert "href" not in said


@pytest.mark.parametrize("text", HIDDEN)
def test_hidden_characters_are_written_out(report: Report, text: str) -> None:
    """Code shows every character that would hide or reorder others."""
    assert report.hidden[text] == HIDDEN[text]
