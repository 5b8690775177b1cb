"""What every place that shows answers must do with any Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from core.markdown import parser
from core.messages import clean_text
from tests.contracts.render_kit import KITS, RenderKit

ANSWER = """## web-3 is nearly full

| Mount | Used | Size |
|-------|-----:|------|
| `/`   | 91 % | 40 G |
| /data | 12 % | 磁盘 |

1. Look at the **largest** directories:

   ```sh
   du -xh / --max-depth=2 | sort -h | tail
   if [ $a -lt 3 ] && [ "$b" > "<x>" ]; then exit; fi
   ```

2. Rotate the logs of *nginx*, ~~not~~ then see [the manual](https://nginx.org/en/docs/).

> disk_usage said: 36.4 of 40 GB

Nobody is called: @channel @here <!here> <@U012> @all.
"""

PIECES = (
    *("word ", "磁盘", "👩🏽‍🚀", "<!here>", "<!channel>", "<@U1>", "<#C1|x>", "@channel", "@all"),
    *("<", ">", "&", "&lt;", "`", "```\n", "~~~sh\n", "**", "*", "_", "~~", "[", "](", ")", "!["),
    *("https://x.yz/a_b?c&d", "[a](http://b.c)", "|", "\n|a|b|\n|-|-|\n|c|d|\n", "\n", "\n\n"),
    *("- ", "  - ", "7. ", "> ", "# ", "---\n", "    ", "\t", "\\", "x" * 900, "\n\nline. " * 90),
)
ANY = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> RenderKit:
    """Each place."""
    chosen: RenderKit = request.param
    return chosen


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
@settings(max_examples=60, deadline=None)
@given(markdown=ANY)
def test_any_markdown_is_shown_whole_and_harms_nobody(kit: RenderKit, markdown: str) -> None:
    """Every part is taken by the place, mentions nobody, and every letter is seen.

    In which order, the renderers' own tests say: a narrow place turns a table into a list.
    """
    for part in kit.parts(clean_text(markdown)):
        assert kit.wrong(part) == []
        assert Counter(_words(part)) <= Counter(_letters(kit.seen(part)))


def test_an_answer_reads_as_it_was_meant(kit: RenderKit) -> None:
    """Numbers, commands and cells are all there, exactly, in one message."""
    (part,) = kit.parts(ANSWER)
    seen = kit.seen(part)
    assert kit.wrong(part) == []
    for exact in (
        "web-3 is nearly full",
        "91 %",
        "磁盘",
        "du -xh / --max-depth=2 | sort -h | tail",
        'if [ $a -lt 3 ] && [ "$b" > "<x>" ]; then exit; fi',
        "36.4 of 40 GB",
    ):
        assert exact in seen, exact


def test_a_cut_code_block_stays_code(kit: RenderKit) -> None:
    """A long log in a fence: every line is seen once, in order."""
    lines = [f"line {number:04d} of the log" for number in range(600)]
    parts = kit.parts("```\n" + "\n".join(lines) + "\n```")
    seen = "\n".join(kit.seen(part) for part in parts)
    assert re.findall(r"line \d{4} of the log", seen) == lines


def _words(markdown: str) -> str:
    return _letters("".join(_contents(parser().parse(markdown))))


def _contents(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.children:
            yield from _contents(token.children)
        elif token.type in {"text", "code_inline", "fence", "code_block"}:
            yield token.content


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isalnum())
