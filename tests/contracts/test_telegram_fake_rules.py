"""What the fake Bot API refuses, how it reads markup, and what the weather does to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    MessageEntity,
    ReplyParameters,
)
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter

from tests.fakes.telegram import Chat, TelegramFake
from tests.fakes.telegram_errors import ApiError
from tests.fakes.telegram_html import parse_html
from tests.fakes.telegram_markdown import parse_markdown
from tests.fakes.telegram_text import Formatted, cleaned

KEYS = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="y:1")]])
GROUP_ID = -1001000000001
Act = Callable[[Bot, Chat], Awaitable[object]]


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramFake]:
    """The fake, without limits."""
    async with TelegramFake() as fake:
        yield fake


@pytest.fixture
async def bot(telegram: TelegramFake) -> AsyncIterator[Bot]:
    """The real library, pointed at the fake."""
    async with Bot(telegram.token, base_url=telegram.base_url) as client:
        yield client


async def _reply(bot: Bot, chat: Chat) -> object:
    return await bot.send_message(7, "x", reply_parameters=ReplyParameters(999))


async def _unchanged(bot: Bot, chat: Chat) -> object:
    sent = await bot.send_message(7, "*same*", parse_mode="MarkdownV2", reply_markup=KEYS)
    return await bot.edit_message_text(
        " same ", 7, sent.message_id, entities=[MessageEntity("bold", 1, 4)], reply_markup=KEYS
    )


async def _entity(bot: Bot, chat: Chat) -> object:
    return await bot.send_message(7, "😀b", entities=[MessageEntity("bold", 2, 2)])


async def _half(bot: Bot, chat: Chat) -> object:
    return await bot.send_message(7, "😀b", entities=[MessageEntity("bold", 1, 2)])


async def _foreign(bot: Bot, chat: Chat) -> object:
    return await bot.edit_message_text("x", 7, chat.say(chat.user, "mine").id)


async def _data(bot: Bot, chat: Chat) -> object:
    keys = InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data="é" * 33)]])
    return await bot.send_message(7, "x", reply_markup=keys)


async def _quote(bot: Bot, chat: Chat) -> object:
    number = chat.say(chat.user, "disk is full").id
    await bot.send_message(7, "x", reply_parameters=ReplyParameters(number, quote="is full"))
    return await bot.send_message(7, "x", reply_parameters=ReplyParameters(number, quote="empty"))


async def _caption(bot: Bot, chat: Chat) -> object:
    return await bot.send_document(7, b"x", caption="c" * 1025)


async def _media(bot: Bot, chat: Chat) -> object:
    sent = await bot.send_document(7, b"x", caption="c")
    return await bot.edit_message_text("text", 7, sent.message_id)


async def _delete(bot: Bot, chat: Chat) -> object:
    return await bot.delete_message(GROUP_ID, chat.hub.chats[GROUP_ID].say(chat.user, "mine").id)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda bot, _: bot.send_message(7, "😀" * 2049), "Message is too long"),
        (lambda bot, _: bot.send_message(7, ""), "Message text is empty"),
        (lambda bot, _: bot.send_message(7, " \n"), "Text must be non-empty"),
        (lambda bot, _: bot.send_message(8, "x"), "Chat not found"),
        (lambda bot, _: bot.send_message("@nobody", "x"), "Chat not found"),
        (lambda bot, _: bot.edit_message_text("x", 7, 999), "Message to edit not found"),
        (lambda bot, _: bot.delete_message(7, 999), "Message to delete not found"),
        (lambda bot, _: bot.send_message(7, "x", message_thread_id=3), "thread not found"),
        (lambda bot, _: bot.send_message_draft(7, 0, "x"), "Random_id_invalid"),
        (lambda bot, _: bot.get_file("nothing"), "wrong file_id"),
        (lambda bot, _: bot.send_message_draft(GROUP_ID, 5, "x"), "Textdraft_peer_invalid"),
        (lambda bot, _: bot.send_chat_action(7, "dancing"), "Wrong parameter action"),
        (lambda bot, _: bot.leave_chat(7), "can't be changed in private chats"),
        (_quote, "Quote_text_invalid"),
        (_caption, "Message caption is too long"),
        (_media, "There is no text in the message to edit"),
        (_delete, "Message can't be deleted for everyone"),
        (_reply, "Message to be replied not found"),
        (_unchanged, "Message is not modified"),
        (_entity, "Can't parse entities: entity beginning at UTF-16 offset 2 ends after"),
        (_half, "begins in a middle of a UTF-16 symbol"),
        (_foreign, "Message can't be edited"),
        (_data, "Button_data_invalid"),
    ],
)
async def test_mistakes_are_refused(
    telegram: TelegramFake, bot: Bot, act: Act, sentence: str
) -> None:
    """With the sentence of the real server."""
    chat = telegram.private(7)
    assert telegram.supergroup(members=[chat.user]).id == GROUP_ID
    with pytest.raises(BadRequest, match=f"(?i){sentence}"):
        await act(bot, chat)
    assert telegram.calls[-1].status == 400


async def test_a_person_must_start_the_bot(telegram: TelegramFake, bot: Bot) -> None:
    """Someone known from a group cannot be written to."""
    telegram.supergroup("Ops", [telegram.person(7)])
    with pytest.raises(Forbidden, match="bot can't initiate conversation with a user"):
        await bot.send_message(7, "hi")


async def test_weather(telegram: TelegramFake, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down, dropped, limited and lost: an effect only where the answer was lost."""
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # else the library warns, which is an error here
    chat = telegram.private(7)
    weather = telegram.weather
    weather.limited = weather.dropped = weather.lost_answers = 1
    weather.retry_after_s = 4
    for error in (NetworkError, RetryAfter, NetworkError):
        with pytest.raises(error):
            await bot.send_message(7, "x")
    assert (chat.texts(), telegram.count("sendMessage")) == (["x"], 1)
    assert telegram.calls[-1].lost
    await bot.send_message(7, "z")
    weather.down = True
    with pytest.raises(NetworkError, match="Bad Gateway"):
        await bot.send_message(7, "y")
    assert [call.status for call in telegram.calls_of("sendMessage")] == [0, 429, 200, 200, 502]


def _kinds(given: Formatted) -> list[tuple[str, int, int]]:
    return [(item["type"], item["offset"], item["length"]) for item in given.entities]


@pytest.mark.parametrize(
    ("source", "text", "kinds"),
    [
        ("a &lt;b&gt; &amp; &nbsp; &#128512;", "a <b> & &nbsp; 😀", []),
        ("😀<b>x<i>y</i></b>", "😀xy", [("bold", 2, 2), ("italic", 3, 1)]),
        ('<a href="https://a.org/?q=&quot;">l</a>', "l", [("text_link", 0, 1)]),
        ('<a href="tg://user?id=5">l</a>', "l", [("text_mention", 0, 1)]),
        ('<a href="nowhere">l</a>', "l", []),
        ("<pre><code class='language-sh'>ls</code></pre>", "ls", [("pre", 0, 2)]),
        ("<pre>a</pre><code>b</code>", "ab", [("pre", 0, 1), ("code", 1, 1)]),
        ("<blockquote expandable>q</blockquote>", "q", [("expandable_blockquote", 0, 1)]),
        ('<span class="tg-spoiler">s</span><b></b>', "s", [("spoiler", 0, 1)]),
    ],
)
def test_html_is_read(source: str, text: str, kinds: list[tuple[str, int, int]]) -> None:
    """Into the text and entities that the real server makes of it."""
    given = parse_html(source)
    assert (given.text, _kinds(given)) == (text, kinds)


def test_the_language_of_a_code_block_is_kept() -> None:
    """From ``pre`` around ``code`` with a class, and from a fence."""
    html = parse_html('<pre><code class="language-sh">ls</code></pre>')
    assert html.entities[0]["language"] == "sh"
    assert parse_markdown("```sh\nls```").entities == html.entities


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("é<script>", 'Unsupported start tag "script" at byte offset 2'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("a <b", "Unclosed start tag at byte offset 2"),
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ("<a href=a/b>x</a>", "Unexpected end of name token at byte offset 8"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ('<tg-emoji emoji-id="x">x</tg-emoji>', "Invalid custom emoji identifier specified"),
    ],
)
def test_bad_html_is_refused(source: str, sentence: str) -> None:
    """In the real server's words, with offsets in bytes."""
    with pytest.raises(ApiError) as caught:
        parse_html(source)
    assert caught.value.description == f"Bad Request: can't parse entities: {sentence}"


@pytest.mark.parametrize(
    ("source", "text", "kinds"),
    [
        ("🏟 🏟_abac \\* asd _", "🏟 🏟abac * asd ", [("italic", 5, 11)]),
        ("🏟 🏟_🏟 __🏟___", "🏟 🏟🏟 🏟", [("italic", 5, 5), ("underline", 8, 2)]),
        ("🏟 🏟`🏟 🏟```", "🏟 🏟🏟 🏟", [("code", 5, 5)]),
        ("🏟 🏟```🏟\r\n🏟```", "🏟 🏟🏟", [("pre", 5, 2)]),
        ("🏟 🏟**", "🏟 🏟", []),
        ("||test||", "test", [("spoiler", 0, 4)]),
        ("[telegram\\.org](https://telegram.dog?\\))", "telegram.org", [("text_link", 0, 12)]),
        ("[telegram\\.org]()", "telegram.org", []),
        ("[ ](as)", " ", []),
        ("abc\n> \n> \n>\ndef", "abc\n \n \n\ndef", [("blockquote", 4, 5)]),
        ("**>a\n>b||", "a\nb", [("expandable_blockquote", 0, 3)]),
        (">`b\n>ld`", "b\n>ld", [("blockquote", 0, 5), ("code", 0, 5)]),
    ],
)
def test_markdown_is_read(source: str, text: str, kinds: list[tuple[str, int, int]]) -> None:
    """Into the text and entities that the real server makes of it."""
    given = parse_markdown(source)
    assert (given.text, _kinds(given)) == (text, kinds)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        *(
            (
                symbol,
                f"Character '{symbol}' is reserved and must be escaped with the preceding '\\'",
            )
            for symbol in "]()#+-=|{}.!"
        ),
        ("x>", "Character '>' is reserved and must be escaped with the preceding '\\'"),
        ("🏟 🏟_abac * asd ", "Can't find end of Bold entity at byte offset 15"),
        ("🏟 🏟```a ", "Can't find end of PreCode entity at byte offset 9"),
        ("🏟 🏟```a", "Can't find end of Pre entity at byte offset 9"),
        ("🏟 🏟__🏟 _🏟___", "Can't find end of Italic entity at byte offset 23"),
        ("🏟 🏟```🏟 🏟`", "Can't find end of Code entity at byte offset 21"),
        ("[telegram\\.org](asd", "Can't find end of a URL at byte offset 16"),
        (">*b\n>ld \n>bo\nld*\nasd", "Can't find end of Bold entity at byte offset 1"),
        (">asd\n>q||ew\n||asdad", "Can't find end of Spoiler entity at byte offset 7"),
    ],
)
def test_bad_markdown_is_refused(source: str, sentence: str) -> None:
    """In the real server's words, with offsets in bytes."""
    with pytest.raises(ApiError) as caught:
        parse_markdown(source)
    assert caught.value.description == f"Bad Request: can't parse entities: {sentence}"


def test_a_text_is_cleaned_with_its_entities() -> None:
    """Ends are trimmed, carriage returns go, the marks stay on their words."""
    bold = {"type": "bold", "offset": 4, "length": 4}
    given = cleaned(Formatted(text=" \r\na\tb\r\nc ", entities=(bold,)))
    assert given == Formatted(text="a b\nc", entities=({**bold, "offset": 1, "length": 3},))


def test_marks_beyond_a_hundred_are_dropped() -> None:
    """As the real server does, without a word."""
    given = cleaned(parse_html("<b>x</b> " * 120))
    assert (len(given.text), len(given.entities)) == (239, 100)
