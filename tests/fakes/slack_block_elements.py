"""What Slack refuses about the parts of blocks: text objects, elements, rich text."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fakes.slack_model import Json

_STYLES = frozenset(
    {"bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink"}
)
_LEAVES = {
    "text": "text",
    "link": "url",
    "user": "user_id",
    "channel": "channel_id",
    "usergroup": "usergroup_id",
    "broadcast": "range",
    "emoji": "name",
    "color": "value",
    "date": "format",
}
"""The leaf elements of rich text and what each of them must have."""
_RICH = ("rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote")


def length(value: object, least: int, most: int, at: str) -> Iterator[str]:
    """A string of so many characters."""
    if not isinstance(value, str):
        yield f"missing required field or not a string [json-pointer:{at}]"
    elif len(value) < least:
        yield f"must be more than {least - 1} characters [json-pointer:{at}]"
    elif len(value) > most:
        yield f"must be less than {most + 1} characters [json-pointer:{at}]"


def check_text(item: object, most: int, at: str) -> Iterator[str]:
    """A text object of either kind."""
    if not isinstance(item, dict) or item.get("type") not in {"mrkdwn", "plain_text"}:
        yield f"must be a text object [json-pointer:{at}]"
        return
    yield from length(item.get("text"), 1, most, f"{at}/text")
    wrong = {"emoji"} if item["type"] == "mrkdwn" else {"verbatim"}
    yield from (f"no such field: {name} [json-pointer:{at}]" for name in wrong & item.keys())


def check_plain(item: object, most: int, at: str) -> Iterator[str]:
    """A ``plain_text`` object."""
    if isinstance(item, dict) and item.get("type") == "mrkdwn":
        yield f"must be plain_text [json-pointer:{at}/type]"
        return
    yield from check_text(item, most, at)


def check_image(item: Json, at: str) -> Iterator[str]:
    """An image block or element."""
    if "slack_file" not in item:
        yield from length(item.get("image_url"), 1, 3000, f"{at}/image_url")
    yield from length(item.get("alt_text"), 1, 2000, f"{at}/alt_text")
    if "title" in item:
        yield from check_plain(item["title"], 2000, f"{at}/title")


def check_element(item: Json, kinds: tuple[str, ...], at: str) -> Iterator[str]:
    """An interactive element of one of these kinds."""
    kind = item.get("type")
    if kind not in kinds:
        yield f"unsupported type: {kind} [json-pointer:{at}/type]"
        return
    yield from length(item.get("action_id", ""), 0, 255, f"{at}/action_id")
    match kind:
        case "button":
            yield from _button(item, at)
        case "image":
            yield from check_image(item, at)
        case "icon_button":
            yield from length(item.get("icon"), 1, 75, f"{at}/icon")
            yield from check_plain(item.get("text"), 75, f"{at}/text")
            yield from length(item.get("value", ""), 0, 2000, f"{at}/value")
        case "feedback_buttons":
            for side in ("positive_button", "negative_button"):
                button = item.get(side) or {}
                yield from check_plain(button.get("text"), 75, f"{at}/{side}/text")
                yield from length(button.get("value"), 1, 2000, f"{at}/{side}/value")
        case "static_select" | "overflow" | "checkboxes":
            yield from _options(item, {"overflow": 5, "checkboxes": 10}.get(kind, 100), at)
        case _:
            pass
    if "confirm" in item:
        yield from _confirm(item["confirm"], f"{at}/confirm")


def check_rich_text(block: Json, at: str) -> Iterator[str]:
    """A ``rich_text`` block or table cell."""
    elements = block.get("elements")
    if not isinstance(elements, list) or not elements:
        yield f"missing required field: elements [json-pointer:{at}]"
        return
    for number, item in enumerate(elements):
        where = f"{at}/elements/{number}"
        if item.get("type") not in _RICH or not isinstance(item.get("elements"), list):
            yield f"unsupported type: {item.get('type')} [json-pointer:{where}]"
        elif item["type"] == "rich_text_list":
            yield from _list(item, where)
        else:
            yield from _leaves(item, where)


def _list(item: Json, at: str) -> Iterator[str]:
    if item.get("style") not in {"bullet", "ordered"}:
        yield f"must be bullet or ordered [json-pointer:{at}/style]"
    if not 0 <= item.get("indent", 0) <= 8:
        yield f"must be 0 to 8 [json-pointer:{at}/indent]"
    if not item["elements"]:
        yield f"must have 1 item at least [json-pointer:{at}/elements]"
    for number, part in enumerate(item["elements"]):
        where = f"{at}/elements/{number}"
        if part.get("type") != "rich_text_section":
            yield f"unsupported type: {part.get('type')} [json-pointer:{where}]"
        else:
            yield from _leaves(part, where)


def _leaves(item: Json, at: str) -> Iterator[str]:
    for number, leaf in enumerate(item["elements"]):
        where = f"{at}/elements/{number}"
        kind = leaf.get("type")
        if kind not in _LEAVES:
            yield f"unsupported type: {kind} [json-pointer:{where}]"
            continue
        if item["type"] == "rich_text_preformatted" and kind not in {"text", "link"}:
            yield f"no {kind} in rich_text_preformatted [json-pointer:{where}]"
        if kind == "date":
            if not isinstance(leaf.get("timestamp"), int):
                yield f"missing required field: timestamp [json-pointer:{where}]"
        else:
            yield from length(leaf.get(_LEAVES[kind]), 1, 40_000, f"{where}/{_LEAVES[kind]}")
        style = leaf.get("style", {})
        if not isinstance(style, dict) or not _STYLES.issuperset(style):
            yield f"invalid style [json-pointer:{where}/style]"
        if kind == "broadcast" and leaf.get("range") not in {"here", "channel", "everyone"}:
            yield f"invalid range [json-pointer:{where}/range]"


def _button(item: Json, at: str) -> Iterator[str]:
    yield from check_plain(item.get("text"), 75, f"{at}/text")
    yield from length(item.get("value", ""), 0, 2000, f"{at}/value")
    yield from length(item.get("url", ""), 0, 3000, f"{at}/url")
    yield from length(item.get("accessibility_label", ""), 0, 75, f"{at}/accessibility_label")
    if item.get("style", "primary") not in {"primary", "danger"}:
        yield f"must be primary or danger [json-pointer:{at}/style]"


def _options(item: Json, most: int, at: str) -> Iterator[str]:
    options = item.get("options")
    if not isinstance(options, list) or not 1 <= len(options) <= most:
        yield f"must have 1 to {most} items [json-pointer:{at}/options]"
        return
    for number, option in enumerate(options):
        where = f"{at}/options/{number}"
        yield from check_text(option.get("text"), 75, f"{where}/text")
        yield from length(option.get("value"), 1, 150, f"{where}/value")


def _confirm(item: Json, at: str) -> Iterator[str]:
    yield from check_plain(item.get("title"), 100, f"{at}/title")
    yield from check_text(item.get("text"), 300, f"{at}/text")
    yield from check_plain(item.get("confirm"), 30, f"{at}/confirm")
    yield from check_plain(item.get("deny"), 30, f"{at}/deny")
