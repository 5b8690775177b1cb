"""What a reader sees of a message: the text of its blocks, and whom it would notify."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fakes.slack_model import Json, Message

_LEAF_TEXT = {
    "user": "<@{user_id}>",
    "channel": "<#{channel_id}>",
    "usergroup": "<!subteam^{usergroup_id}>",
    "broadcast": "<!{range}>",
    "emoji": ":{name}:",
    "color": "{value}",
    "date": "{fallback}",
}
_PING = re.compile(r"<(@[UW][A-Z0-9]+|!here|!channel|!everyone|!subteam\^[A-Z0-9]+)(?:\|[^>]*)?>")
_NAME = re.compile(r"(?<!\w)@(here|channel|everyone)\b")
_LINK = re.compile(r"<((?:https?|mailto|tel):[^|>]*)(?:\|([^>]*))?>")


def plain_text(message: Message) -> str:
    """The visible text. Blocks hide the fallback ``text``; a stream shows text, then blocks."""
    parts = []
    if message.stream is not None:
        parts.append(message.text)
        parts += [task.get("title", "") for task in message.stream.tasks.values()]
        parts.append(blocks_text(message.stream.blocks))
    elif not message.blocks:
        parts.append(_from_mrkdwn(message.text))
    parts.append(blocks_text(message.blocks))
    return "\n".join(part for part in parts if part)


def blocks_text(blocks: list[Json]) -> str:
    """The visible text of blocks, one line or more for each; buttons are not text."""
    return "\n".join(text for block in blocks if (text := _block_text(block)))


def pings(message: Message) -> set[str]:
    """Whom the message notifies: ``@U...`` and ``!here`` and their like."""
    found: set[str] = set()
    stream_blocks = message.stream.blocks if message.stream else []
    if not message.blocks or message.stream is not None:
        found.update(_PING.findall(message.text))
        if message.options.get("parse") == "full" or message.options.get("link_names"):
            found.update(f"!{name}" for name in _NAME.findall(message.text))
    for item in _walk([*stream_blocks, *message.blocks]):
        match item.get("type"):
            case "mrkdwn" | "markdown":
                found.update(_PING.findall(item["text"]))
            case "user":
                found.add(f"@{item['user_id']}")
            case "broadcast":
                found.add(f"!{item['range']}")
            case "usergroup":
                found.add(f"!subteam^{item['usergroup_id']}")
            case _:
                pass
    return found


def elements_with_action(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Every block with each of its interactive elements."""
    for block in blocks:
        parts = [*block.get("elements", []), block.get("accessory"), block.get("element")]
        yield from ((block, part) for part in parts if part and "action_id" in part)


def _walk(value: object) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from _walk(part)


def _block_text(block: Json) -> str:
    match block["type"]:
        case "section":
            parts = [block.get("text"), *block.get("fields", [])]
            return "\n".join(_object_text(part) for part in parts if part)
        case "header":
            return _object_text(block["text"])
        case "context":
            return " ".join(_object_text(part) for part in block["elements"] if "text" in part)
        case "markdown":
            return str(block["text"])
        case "rich_text":
            return "".join(_rich(part) for part in block["elements"]).rstrip("\n")
        case "table":
            return "\n".join("\t".join(_cell(cell) for cell in row) for row in block["rows"])
        case "image":
            return _object_text(block["title"]) if "title" in block else ""
        case _:
            return ""


def _object_text(item: Json) -> str:
    text = str(item["text"])
    return _from_mrkdwn(text) if item["type"] == "mrkdwn" else text


def _cell(cell: Json) -> str:
    if cell["type"] == "rich_text":
        return "".join(_rich(part) for part in cell["elements"]).rstrip("\n")
    return str(cell.get("text", cell.get("value", "")))


def _rich(item: Json) -> str:
    if item["type"] == "rich_text_list":
        return _list(item)
    text = "".join(_leaf(part) for part in item["elements"])
    return text if text.endswith("\n") else f"{text}\n"


def _list(item: Json) -> str:
    indent = "  " * item.get("indent", 0)
    first = item.get("offset", 0) + 1
    lines = []
    for number, part in enumerate(item["elements"], first):
        mark = f"{number}." if item["style"] == "ordered" else "•"
        lines.append(f"{indent}{mark} {_rich(part)}")
    return "".join(lines)


def _leaf(item: Json) -> str:
    match item["type"]:
        case "text":
            return str(item["text"])
        case "link":
            return str(item.get("text") or item["url"])
        case kind if kind in _LEAF_TEXT:
            return _LEAF_TEXT[kind].format_map({"fallback": "", **item})
        case _:
            return ""


def _from_mrkdwn(text: str) -> str:
    shown = _LINK.sub(lambda found: found[2] or found[1], text)
    return shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
