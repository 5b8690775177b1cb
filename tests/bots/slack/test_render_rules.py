"""Slack's rules for a message's blocks, written from its documentation, and proof of their bite.

Sources: docs.slack.dev/reference/block-kit/blocks/{rich-text,header,divider,table}-block, and
refusals that others met: empty elements (NousResearch/hermes-agent 59621), a second table
(vercel/chat 194), the sum of all blocks (slackapi/bolt-js 2509).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from bots.slack.render_elements import Json

CELL_CHARS = 10_000
ALL_CHARS = 12_000
NOTIFIES = re.compile(r"<[@#!]|(?<![^\W_])@(?:channel|here|everyone)", re.IGNORECASE)
STYLES = {"bold", "italic", "strike", "code"}

Rule = Mapping[str, Any]


def check(blocks: Sequence[Mapping[str, Json]]) -> None:
    """Raise AssertionError where Slack would refuse the blocks, or where they could notify."""
    assert len(blocks) <= 45, "no room for buttons"
    assert sum(block["type"] == "table" for block in blocks) <= 1, "one table a message"
    assert len(json.dumps(blocks, separators=(",", ":"), ensure_ascii=False)) <= ALL_CHARS
    for block in blocks:
        _check_block(block)


def shown(part: Json) -> str:
    """The text that a reader sees, in order."""
    if isinstance(part, Mapping):
        if part.get("type") in ("text", "raw_text", "plain_text"):
            return str(part["text"])
        if part.get("type") == "link":
            return str(part.get("text", part["url"]))
        return shown(part.get("text") or part.get("rows") or part.get("elements") or "")
    if isinstance(part, Sequence) and not isinstance(part, str):
        return "\n".join(map(shown, part)) if _is_outer(part) else "".join(map(shown, part))
    return ""


def _is_outer(part: Sequence[Json]) -> bool:
    """Whether these stand below one another, and not in one line."""
    first = part[0] if part else ""
    return not isinstance(first, Mapping) or first.get("type") not in ("text", "link")


def _check_block(block: Rule) -> None:
    match block["type"]:
        case "rich_text":
            _check_rich_text(block)
        case "header":
            assert block.keys() == {"type", "text"}
            text = block["text"]
            assert text.keys() <= {"type", "text", "emoji"}
            assert text["type"] == "plain_text"
            assert 1 <= len(text["text"].encode("utf-16-le")) / 2 <= 150
            assert not NOTIFIES.search(text["text"])
        case "divider":
            assert block.keys() == {"type"}
        case "table":
            _check_table(block)
        case other:
            pytest.fail(f"unexpected block {other}")


def _check_rich_text(block: Rule) -> None:
    assert block.keys() == {"type", "elements"}
    assert block["elements"], "an empty block is refused"
    for element in block["elements"]:
        kind = element["type"]
        if kind == "rich_text_list":
            assert element.keys() <= {"type", "style", "indent", "offset", "border", "elements"}
            assert element["style"] in ("bullet", "ordered")
            assert 0 <= element["indent"] <= 8
            assert element.get("offset", 1) > 0
            assert element.get("border", 0) in (0, 1)
            assert element["elements"]
            for item in element["elements"]:
                assert item["type"] == "rich_text_section"
                _check_run(item, {"type", "elements"}, STYLES)
        elif kind == "rich_text_preformatted":
            _check_run(element, {"type", "elements", "border"}, set())
        else:
            assert kind in ("rich_text_section", "rich_text_quote")
            _check_run(element, {"type", "elements"}, STYLES)


def _check_run(element: Rule, fields: set[str], styles: set[str]) -> None:
    """Only text and links: no user, usergroup, channel, team or broadcast element."""
    assert element.keys() <= fields
    assert element["elements"], "an empty run is refused"
    for part in element["elements"]:
        assert part.keys() <= {"type", "text", "style", "url"}
        assert set(part.get("style", {})) <= styles
        assert all(value is True for value in part.get("style", {}).values())
        if part["type"] == "link":
            assert len(part["url"]) <= 3_000
            assert urlsplit(part["url"]).scheme in ("http", "https", "mailto", "tel")
            assert not re.search(r"[\s<>]", part["url"])
            assert part.get("text") != ""
        else:
            assert part["type"] == "text"
            assert "url" not in part
            assert part["text"], "an empty text is refused"
        assert len(part.get("text", "")) <= 3_000
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", part.get("text", ""))


def _check_table(block: Rule) -> None:
    assert block.keys() <= {"type", "rows", "column_settings"}
    rows = block["rows"]
    assert 1 <= len(rows) <= 100
    assert len({len(row) for row in rows}) == 1
    assert 1 <= len(rows[0]) <= 20
    assert len(block["column_settings"]) <= len(rows[0])
    for column in block["column_settings"]:
        assert column.keys() <= {"align", "is_wrapped"}
        assert column["align"] in ("left", "center", "right")
    cells = [cell for row in rows for cell in row]
    assert sum(len(shown(cell)) for cell in cells) <= CELL_CHARS
    for cell in cells:
        if cell["type"] == "raw_text":
            assert cell.keys() == {"type", "text"}
            assert cell["text"], "an empty cell is refused"
            assert not re.search(r"[<>&@]", cell["text"])
        else:
            assert cell["type"] == "rich_text"
            _check_rich_text(cell)


def _section(*elements: Json) -> dict[str, Json]:
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": list(elements)}],
    }


TEXT: Json = {"type": "text", "text": "x"}
TABLE: dict[str, Json] = {
    "type": "table",
    "column_settings": [],
    "rows": [[{"type": "raw_text", "text": "x"}]],
}


@pytest.mark.parametrize(
    "blocks",
    [
        [_section()],
        [_section({"type": "text", "text": ""})],
        [_section({"type": "text", "text": "x" * 3_001})],
        [_section({"type": "broadcast", "range": "here"})],
        [_section({"type": "user", "user_id": "U1"})],
        [_section({"type": "link", "url": "javascript:x"})],
        [_section({"type": "link", "url": "docs/x", "text": "x"})],
        [{"type": "section", "text": {"type": "mrkdwn", "text": "<!here>"}}],
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        [{"type": "header", "text": {"type": "plain_text", "text": "@here"}}],
        [{"type": "divider"}] * 46,
        [TABLE, TABLE],
        [{**TABLE, "rows": [[{"type": "raw_text", "text": ""}]]}],
        [{**TABLE, "rows": [[{"type": "raw_text", "text": "x"}]] * 101}],
        [{**TABLE, "rows": [[{"type": "raw_text", "text": "x"}] * 21]}],
        [_section(*[{"type": "text", "text": "x" * 3_000}] * 5)],
    ],
)
def test_the_rules_refuse(blocks: list[dict[str, Json]]) -> None:
    """What Slack refuses, or what could notify somebody, does not pass."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(blocks)


def test_the_rules_accept() -> None:
    """A message of every kind of block passes, and is read in order."""
    blocks: list[dict[str, Json]] = [
        {"type": "header", "text": {"type": "plain_text", "text": "a", "emoji": False}},
        {"type": "divider"},
        _section(TEXT, {"type": "link", "url": "https://a.b", "text": "b"}),
        TABLE,
    ]
    check(blocks)
    assert "".join(shown(blocks).split()) == "axbx"
