"""At a terminal: the card of what waits for a human, the question, and the decision.

While the question stands, what else the stream says is held back; it may be that somebody
else decides first, and then the question goes.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Protocol

from bots.console_errors import ConsoleError
from bots.console_events import ApprovalOver, ApprovalWanted, ServerEvent, TurnCompleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.console_render import AnswerView
    from bots.console_terminal import LineReader

QUESTION = "Approve? [y/N/reason] "
_SHORT = 6
"""Characters of an id's end that people type."""
_FENCE = re.compile("`{3,}")
_MARKUP = re.compile(r"\\([!-/:-@\[-`{-~])|\*\*")


class Decider(Protocol):
    """Where a decision goes."""

    async def decide(self, approval_id: str, *, approve: bool, comment: str) -> None:
        """Raises ``ConsoleError``."""


def read_decision(answer: str) -> tuple[bool, str]:
    """Whether it approves, and the comment. Only a yes does; any other words are a reason."""
    text = answer.strip()
    match text.casefold():
        case "y" | "yes":
            return True, ""
        case "" | "n" | "no":
            return False, ""
        case _:
            return False, text


def how_to_decide(approval: ApprovalWanted) -> str:
    """For who cannot be asked here; whether they may approve themselves is on the card."""
    short = approval.id[-_SHORT:]
    return (
        f'Whoever decides (see above) approves it with: it0 chat --once "/approve {short}" - '
        f'or denies it with: it0 chat --once "/deny {short} reason"'
    )


def plain_card(text: str) -> str:
    """A card where no Markdown is drawn: without escapes and bold; code stays as it is."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if fence or found:
            lines.append(line)
        else:
            lines.append(_MARKUP.sub(lambda match: match[1] or "", line))
        if found and not fence:
            fence = found[0]
        elif line == fence:
            fence = ""
    return "\n".join(lines)


class Asking:
    """Shows a turn's events, and asks the person where one of them is a question."""

    def __init__(
        self,
        decider: Decider,
        reader: LineReader | None,
        view: AnswerView,
        on_stop: Callable[[], None],
    ) -> None:
        """``reader`` is None where nobody types; ``on_stop`` is Ctrl-C at the question."""
        self._decider = decider
        self._reader = reader
        self._view = view
        self._on_stop = on_stop
        self._seen: set[str] = set()
        self._asked = ""
        self._over = False
        self._held: list[ServerEvent] = []
        self._task: asyncio.Task[None] | None = None

    async def take(self, event: ServerEvent) -> None:
        """Show an event, or hold it back while the person is asked."""
        self._held.append(event)
        self._over = self._over or isinstance(event, TurnCompleted)
        if self._over or (isinstance(event, ApprovalOver) and event.id == self._asked):
            await self._withdraw()
        self._show_held()

    async def end(self) -> None:
        """The stream is over: nothing is asked any more."""
        self._over = True
        await self._withdraw()
        self._show_held()

    async def _withdraw(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _show_held(self) -> None:
        while self._held and self._task is None:
            event = self._held.pop(0)
            if isinstance(event, ApprovalWanted):
                self._meet(event)
            else:
                self._view.show(event)

    def _meet(self, event: ApprovalWanted) -> None:
        if event.id in self._seen:
            return
        self._seen.add(event.id)
        self._view.show(event)
        if self._reader is None:
            self._view.say(how_to_decide(event))
        elif not self._over:
            self._asked = event.id
            self._task = asyncio.create_task(self._ask(self._reader, event))

    async def _ask(self, reader: LineReader, event: ApprovalWanted) -> None:
        try:
            async with self._view.aside():
                approve, comment = read_decision(await reader.ask(QUESTION))
            await self._decider.decide(event.id, approve=approve, comment=comment)
        except EOFError:
            self._view.say(how_to_decide(event))
        except KeyboardInterrupt:
            self._on_stop()
        except ConsoleError as error:
            self._view.say(error.sentence)
        self._task = None
        self._show_held()
