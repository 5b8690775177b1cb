"""Slack's rich text elements: the types, and runs of styled text and links.

Nothing in these elements is parsed by Slack, so text shows exactly as it is and can't mention
anybody: mentions are elements of their own (user, usergroup, channel, broadcast), which this
package never makes. Source: docs.slack.dev/reference/block-kit/blocks/rich-text-block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from markdown_it.token import Token

Json: TypeAlias = "str | int | Sequence[Json] | Mapping[str, Json]"
Block: TypeAlias = dict[str, Json]
"""A block or an element, ready for the Web API."""

MAX_TEXT = 3_000
"""Characters of one text element. Slack documents this for text objects; rich text takes more."""
_MAX_URL = 3_000
_SCHEMES = ("http", "https", "mailto", "tel")
"""Links to other schemes, and relative ones, are refused by Slack or open nothing."""

_BARE_URL = re.compile(r"https?://[!#-;=?-Z\\\]_a-z~\[]+")
"""Printable ASCII without quotes, angle brackets, ^ ` { | }: Chinese text may follow at once."""
_AFTER_URL = ".,;:!?'*_~\\"
_BRACKETS = {")": "(", "]": "["}

_STYLES = {
    "strong_open": "bold",
    "em_open": "italic",
    "s_open": "strike",
}


class Run:
    """Styled text and links in a row, as few elements as possible."""

    def __init__(self, *, styled: bool = True, bold: bool = False) -> None:
        """``styled`` False keeps only text and links; ``bold`` makes all of it bold."""
        self.elements: list[Block] = []
        self._styled = styled
        self._bold = bold

    def text(self, text: str, styles: Iterable[str] = (), *, url: str = "") -> None:
        """Append text, as a link when there is a ``url``."""
        style = dict.fromkeys(sorted({*styles, *(("bold",) if self._bold else ())}), True)
        if not self._styled:
            style = {}
        for start in range(0, len(text), MAX_TEXT):
            self._append(text[start : start + MAX_TEXT], style, url)

    def _append(self, text: str, style: Mapping[str, Json], url: str) -> None:
        element: Block = {"type": "link", "url": url} if url else {"type": "text"}
        if style:
            element["style"] = style
        if text == url:  # Slack shows the address of a link without text
            self.elements.append(element)
            return
        last = self.elements[-1] if self.elements else {}
        before = last.get("text")
        same = {**element, "text": before} == last
        if same and isinstance(before, str) and len(before) + len(text) <= MAX_TEXT:
            last["text"] = before + text
        else:
            self.elements.append({**element, "text": text})

    def linked(self, text: str, styles: Iterable[str] = ()) -> None:
        """Append text whose web addresses become links, because Slack looks for none here."""
        at = 0
        for match in _BARE_URL.finditer(text):
            url = _without_tail(match.group())
            if is_link(url):
                self.text(text[at : match.start()], styles)
                self.text(url, styles, url=url)
                at = match.start() + len(url)
        self.text(text[at:], styles)

    def extend(self, elements: Iterable[Block]) -> None:
        """Append the text and links of another run."""
        for element in elements:
            style = element.get("style")
            self.text(
                plain_text((element,)),
                style if isinstance(style, Mapping) else (),
                url=str(element.get("url", "")),
            )

    def inline(self, tokens: Sequence[Token]) -> None:
        """Append the content of a paragraph, heading or table cell."""
        styles: list[str] = []
        url = target = ""
        words: list[str] = []
        for token in tokens:
            if token.type in _STYLES:
                styles.append(_STYLES[token.type])
            elif token.nesting < 0 and token.type != "link_close":
                styles.remove(_STYLES[token.type.replace("_close", "_open")])
            elif token.type == "link_open":
                target = str(token.attrs["href"])
                url = target if is_link(target) else ""
                words = []
            elif token.type == "link_close":
                self._end_link(target, url, "".join(words))
                url = target = ""
            elif token.type == "image":
                alt = _words(token.children or ())
                words.append(alt)
                self._image(alt, str(token.attrs["src"]), styles, url)
            else:
                text = _words((token,))
                words.append(text)
                code = ("code",) if token.type == "code_inline" else ()
                plain = not (target or code)
                if plain:
                    self.linked(text, styles)
                else:
                    self.text(text, (*styles, *code), url=url)

    def _end_link(self, target: str, url: str, words: str) -> None:
        """Show the address of a link that has no text or that Slack would refuse."""
        if url and not words.strip():
            self.text(url, url=url)
        elif target and not url and target not in words:
            self.text(f" ({target})")

    def _image(self, alt: str, source: str, styles: Sequence[str], url: str) -> None:
        """A picture as a link: loading it would tell its server who reads the answer."""
        url = url or (source if is_link(source) else "")
        self.text(alt or source, styles, url=url)
        if alt and not url and source:
            self.text(f" ({source})", styles)


def is_link(url: str) -> bool:
    """Whether Slack takes this address for a link."""
    if len(url) > _MAX_URL:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in _SCHEMES:
        return False
    return bool(parts.hostname if parts.scheme.startswith("http") else parts.path)


def plain_text(elements: Iterable[Block]) -> str:
    """What the reader sees of a run."""
    return "".join(str(element.get("text", element.get("url"))) for element in elements)


def _words(tokens: Iterable[Token]) -> str:
    """What the reader sees of inline tokens; a line break in the source stays one."""
    return "".join(
        "\n"
        if token.type in ("softbreak", "hardbreak")
        else _words(token.children or ()) or token.content
        for token in tokens
    )


def _without_tail(url: str) -> str:
    """A bare address without the punctuation of the sentence around it."""
    while url:
        opening = _BRACKETS.get(url[-1])
        if (opening and url.count(url[-1]) > url.count(opening)) or url[-1] in _AFTER_URL:
            url = url[:-1]
        else:
            break
    return url
