"""What Slack refuses about blocks, views, metadata and lengths, as the reference states it.

Source: the Block Kit reference (blocks, block elements, composition objects). Each rule
yields Slack's kind of sentence; ``SlackError("invalid_blocks")`` carries them all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

from tests.fakes.slack_block_elements import (
    check_element,
    check_image,
    check_plain,
    check_rich_text,
    check_text,
    length,
)
from tests.fakes.slack_model import Json, SlackError

MAX_BLOCKS = 50
MAX_VIEW_BLOCKS = 100
MAX_MARKDOWN = 12_000
MAX_TABLE = 10_000
MAX_METADATA_BYTES = 16_000
_ACTIONS = ("button", "static_select", "users_select", "overflow", "datepicker", "checkboxes")
_LOOSE = ("file", "video", "task_card", "plan", "alert", "card", "carousel", "data_table")
"""Blocks this product does not send; accepted in messages without a look inside."""
_NOT_IN_VIEWS = ("markdown", "table", "context_actions", "file", *_LOOSE)


def check_blocks(blocks: object, *, view: bool = False) -> list[Json]:
    """Return the blocks, or raise ``SlackError``."""
    code = "invalid_arguments" if view else "invalid_blocks"
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    limit = MAX_VIEW_BLOCKS if view else MAX_BLOCKS
    if len(blocks) > limit:
        raise SlackError(code, f"no more than {limit} items allowed [json-pointer:/blocks]")
    try:
        problems = list(_problems(blocks, view=view))
    except (AttributeError, KeyError, TypeError) as error:
        problems = [f"malformed ({type(error).__name__}: {error})"]
    if problems:
        raise SlackError(code, *problems)
    if sum(block["type"] == "table" for block in blocks) > 1:
        raise SlackError("invalid_attachments", "only_one_table_allowed")
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > MAX_MARKDOWN:
        raise SlackError("msg_blocks_too_long")
    return blocks


def check_view(view: object, kinds: tuple[str, ...]) -> Json:
    """Return the view, or raise ``SlackError``."""
    if not isinstance(view, dict) or view.get("type") not in kinds:
        raise SlackError("invalid_arguments", f"must be one of {kinds} [json-pointer:/view/type]")
    problems = list(length(view.get("private_metadata", ""), 0, 3000, "/view/private_metadata"))
    problems += length(view.get("callback_id", ""), 0, 255, "/view/callback_id")
    if view["type"] == "modal":
        problems += check_plain(view.get("title"), 24, "/view/title")
    if problems:
        raise SlackError("invalid_arguments", *problems)
    check_blocks(view.get("blocks"), view=True)
    return view


def check_metadata(metadata: object) -> Json | None:
    """Return the metadata, or raise ``SlackError``; empty metadata removes what was there."""
    if metadata is None or metadata == "":
        return None
    if not isinstance(metadata, dict):
        raise SlackError("invalid_metadata_format")
    if not metadata:
        return None
    kind, payload = metadata.get("event_type"), metadata.get("event_payload")
    if not isinstance(kind, str) or not kind or not isinstance(payload, dict):
        raise SlackError("invalid_metadata_format")
    if len(json.dumps(payload)) > MAX_METADATA_BYTES:
        raise SlackError("metadata_too_large")
    return metadata


def _problems(blocks: list[object], *, view: bool) -> Iterator[str]:
    ids: Counter[str] = Counter()
    for index, block in enumerate(blocks):
        at = f"/blocks/{index}"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            yield f"must be an object with a type [json-pointer:{at}]"
            continue
        yield from length(block.get("block_id", ""), 0, 255, f"{at}/block_id")
        ids[block.get("block_id") or f"#{index}"] += 1
        check = _CHECKS.get(block["type"])
        if (check is None and block["type"] not in _LOOSE) or (
            view and block["type"] in _NOT_IN_VIEWS
        ):
            yield f"unsupported type: {block['type']} [json-pointer:{at}/type]"
        elif check is not None:
            yield from check(block, at)
    yield from (f"block_id already exists: {item}" for item, times in ids.items() if times > 1)


def _section(block: Json, at: str) -> Iterator[str]:
    fields = block.get("fields")
    if "text" not in block and not fields:
        yield f"missing required field: text [json-pointer:{at}]"
    if "text" in block:
        yield from check_text(block["text"], 3000, f"{at}/text")
    if fields is not None:
        yield from _count(fields, 1, 10, f"{at}/fields")
        for number, item in enumerate(fields):
            yield from check_text(item, 2000, f"{at}/fields/{number}")
    if "accessory" in block:
        yield from check_element(block["accessory"], (*_ACTIONS, "image"), f"{at}/accessory")


def _header(block: Json, at: str) -> Iterator[str]:
    yield from check_plain(block.get("text"), 150, f"{at}/text")


def _divider(block: Json, at: str) -> Iterator[str]:
    yield from ()


def _context(block: Json, at: str) -> Iterator[str]:
    elements = block.get("elements")
    yield from _count(elements, 1, 10, f"{at}/elements")
    for number, item in enumerate(elements or []):
        where = f"{at}/elements/{number}"
        if item.get("type") == "image":
            yield from check_image(item, where)
        else:
            yield from check_text(item, 3000, where)


def _actions(block: Json, at: str) -> Iterator[str]:
    yield from _interactive(block, _ACTIONS, 25, at)


def _context_actions(block: Json, at: str) -> Iterator[str]:
    yield from _interactive(block, ("feedback_buttons", "icon_button"), 5, at)


def _interactive(block: Json, kinds: tuple[str, ...], most: int, at: str) -> Iterator[str]:
    elements = block.get("elements")
    yield from _count(elements, 1, most, f"{at}/elements")
    for number, item in enumerate(elements or []):
        yield from check_element(item, kinds, f"{at}/elements/{number}")
    times = Counter(item.get("action_id") for item in elements or [] if item.get("action_id"))
    yield from (f"`action_id` already exists: {name}" for name, n in times.items() if n > 1)


def _input(block: Json, at: str) -> Iterator[str]:
    yield from check_plain(block.get("label"), 2000, f"{at}/label")
    if not isinstance(block.get("element"), dict):
        yield f"missing required field: element [json-pointer:{at}]"


def _markdown(block: Json, at: str) -> Iterator[str]:
    yield from length(block.get("text"), 1, MAX_MARKDOWN, f"{at}/text")


def _table(block: Json, at: str) -> Iterator[str]:
    rows = block.get("rows")
    yield from _count(rows, 1, 100, f"{at}/rows")
    size = 0
    for number, row in enumerate(rows or []):
        yield from _count(row, 1, 20, f"{at}/rows/{number}")
        for column, cell in enumerate(row):
            where = f"{at}/rows/{number}/{column}"
            size += len(json.dumps(cell, ensure_ascii=False)) if "elements" in cell else 0
            if cell.get("type") == "raw_text":
                yield from length(cell.get("text"), 1, MAX_TABLE, f"{where}/text")
                size += len(cell.get("text", ""))
            elif cell.get("type") == "rich_text":
                yield from check_rich_text(cell, where)
            else:
                yield f"unsupported type: {cell.get('type')} [json-pointer:{where}]"
    if size > MAX_TABLE:
        yield f"must be less than {MAX_TABLE} characters in all cells [json-pointer:{at}]"
    settings = block.get("column_settings") or []
    yield from _count(settings, 0, 20, f"{at}/column_settings")
    for number, item in enumerate(settings):
        if item is not None and item.get("align", "left") not in {"left", "center", "right"}:
            yield f"must be left, center or right [json-pointer:{at}/column_settings/{number}]"


def _count(items: object, least: int, most: int, at: str) -> Iterator[str]:
    if not isinstance(items, list):
        yield f"missing required field [json-pointer:{at}]"
    elif not least <= len(items) <= most:
        yield f"must have {least} to {most} items [json-pointer:{at}]"


_CHECKS: dict[str, Callable[[Json, str], Iterator[str]]] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "context_actions": _context_actions,
    "input": _input,
    "markdown": _markdown,
    "rich_text": check_rich_text,
    "table": _table,
    "image": check_image,
}
