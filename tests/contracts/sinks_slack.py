"""Slack for the contract of reply sinks: streams in threads, edits in direct messages."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

from bots.slack.pace import Pace
from bots.slack.sink import DirectMessages, SlackSink
from bots.slack.workspaces import Api, Workspaces
from core.buttons import Buttons
from core.messages import ConversationAddress
from core.sinks import Destination, ReplySink
from tests.bots.slack.sink_kit import KEY, Desk, Memory, desk
from tests.contracts.sink_kit import Placed, SinkKit, Stage
from tests.fakes.slack import Channel, Message, SlackFake, plain_text

POSTS = frozenset({"chat.postMessage", "chat.startStream"})
WRITES = POSTS | {"chat.update", "chat.appendStream", "chat.stopStream"}


@dataclass(slots=True)
class SlackStage:
    """``Stage`` over the fake."""

    desk: Desk
    direct: bool
    asked: dict[str, tuple[Channel, Message]] = field(default_factory=dict)

    def place(self, to: Destination) -> Destination:
        """Each turn has a channel, and a message in it that is answered in its thread.

        Direct messages are answered outside of threads, where Slack does not stream.
        """
        channel, question = self._asked(to.turn_id)
        address = ConversationAddress(
            platform="slack",
            workspace=self.desk.team.id,
            channel=channel.id,
            thread="" if self.direct else question.ts,
        )
        return replace(to, address=address, sender=question.user, source_ref=question.ts)

    def texts(self, turn: str) -> list[str]:
        """See there."""
        return [plain_text(message) for message in self._shown(turn)]

    def refs(self, turn: str) -> list[str]:
        """See there."""
        return [f"{message.channel}:{message.ts}" for message in self._shown(turn)]

    def decidable(self, turn: str) -> list[bool]:
        """See there."""
        wanted = {"it0_approve", "it0_deny"}
        return [wanted <= set(_actions(message)) for message in self._shown(turn)]

    def calls(self, turn: str) -> int:
        """See there."""
        channel, _ = self._asked(turn)
        return sum(
            channel.id in {call.args.get("channel"), call.args.get("channel_id")}
            for call in self.desk.fake.calls()
        )

    def go_down(self) -> None:
        """See there."""
        self.desk.fake.weather.methods = None
        self.desk.fake.weather.down = True

    def come_back(self) -> None:
        """See there."""
        self.desk.fake.weather.down = False

    def refuse(self) -> None:
        """See there."""
        self.desk.team.tokens[self.desk.team.bot_token] = "account_inactive"

    def limit(self, calls: int) -> None:
        """See there."""
        self.desk.fake.weather.methods = WRITES
        self.desk.fake.weather.limited = calls

    def lose_answer(self) -> None:
        """See there."""
        self.desk.fake.weather.methods = POSTS
        self.desk.fake.weather.lost_answers = 1

    def another(self) -> ReplySink:
        """See there."""
        api = Api(self.desk.session, self.desk.fake.api_url)
        workspaces = Workspaces(api, Memory(), self.desk.team.bot_token)
        pace = Pace(now=lambda: time.monotonic() * 1_000_000)
        sink = SlackSink(workspaces, Buttons(KEY), DirectMessages(), pace)
        return Placed(sink, self.place)

    def _shown(self, turn: str) -> list[Message]:
        channel, question = self._asked(turn)
        return self.desk.fake.bot_messages(channel, None if self.direct else question.ts)

    def _asked(self, turn: str) -> tuple[Channel, Message]:
        if turn not in self.asked:
            team, number = self.desk.team, len(self.asked)
            person = team.user(f"person{number}")
            channel = team.dm(person) if self.direct else team.channel(f"team{number}")
            said = person.say(channel, f"{team.mention} how full is web-3?")
            self.asked[turn] = channel, said
        return self.asked[turn]


def _slack(*, direct: bool) -> Callable[[], AbstractAsyncContextManager[tuple[ReplySink, Stage]]]:
    @asynccontextmanager
    async def start() -> AsyncGenerator[tuple[ReplySink, Stage]]:
        async with SlackFake() as fake, desk(fake) as opened:
            stage = SlackStage(opened, direct)
            yield stage.another(), stage

    return start


def _actions(message: Message) -> list[str]:
    elements = [one for block in message.blocks for one in block.get("elements", [])]
    return [str(one["action_id"]) for one in elements if "action_id" in one]


def _message_of(ref: str) -> str:
    """Channel and ts; behind them the sink notes the part, and whether it is a stream."""
    channel, ts, *_ = ref.split(":")
    return f"{channel}:{ts}"


SLACK_KITS = (
    SinkKit(
        name="slack-thread",
        can_find=True,
        placeholder="",  # a stream begins empty: Slack shows that somebody is writing
        message_of=_message_of,
        start=_slack(direct=False),
    ),
    SinkKit(name="slack-direct", can_find=True, message_of=_message_of, start=_slack(direct=True)),
)
