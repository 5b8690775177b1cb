from __future__ import annotations

import re
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bots.web
from core.engines.runbook import RunbookEngine
from core.engines.runbook_plan import Plan, WouldChange, make_plan
from core.engines.runbook_words import WhyOffline
from core.events import Completed, StopReason, TextDelta, TextReset, ToolFinished, ToolStarted
from core.fleet.inventory import Server, ServerKind
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.tools import fleet_tools
from core.messages import Attachment
from core.protected import ProtectedPaths
from core.skills import BUILT_IN, FixedShelf, SkillLibrary, parse_skill
from core.steps import Exchange, ModelStep, ToolCall, ToolStep
from core.tools import ToolResult, ToolSpec
from tests.contracts.engine_kit import FILES, Turn
from tests.fakes.artifacts import KeptArtifacts
from tests.fakes.host import FakeFleet, FakeHost

SKILLS = SkillLibrary.load(BUILT_IN)
SPECS = tuple(
    tool.spec
    for tool in fleet_tools(
        FakeFleet(hosts={}),
        LocalConnector(host=LocalHost(ProtectedPaths())),
        ProtectedPaths(),
        KeptArtifacts(),
    )
)


def server(name: str, kind: ServerKind = ServerKind.SSH) -> Server:
    """A server of the tenant."""
    return Server(id=f"srv_{name}", tenant_id="ten_1", name=name, kind=kind)


FLEET = (server("db-1", ServerKind.LOCAL), server("web-3"), server("web-4"))
HEALTH = ("disk_usage", "memory_usage", "system_load", "service_status")


def plan(text: str) -> Plan | WouldChange | None:
    """The plan for a message."""
    return make_plan(text, SKILLS, FLEET, SPECS)


def calls(text: str) -> list[tuple[str, dict[str, object]]]:
    """The calls of a plan."""
    found = plan(text)
    assert isinstance(found, Plan), found
    return [(call.name, call.arguments) for call in found.calls]


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("disk?", "disk_usage", {}),
        ("is the disk full?", "disk_usage", {}),
        ("disk on web-3", "disk_usage", {"server": "web-3"}),
        ("web 3 disk", "disk_usage", {"server": "web-3"}),
        ("disk on web-9", "disk_usage", {"server": "web-9"}),
        ("how much space is left on web-3?", "disk_usage", {"server": "web-3"}),
        ("磁盘空间还剩多少", "disk_usage", {}),
        ("memroy", "memory_usage", {}),
        ("how much ram do we have?", "memory_usage", {}),
        ("web-3 的内存", "memory_usage", {"server": "web-3"}),
        ("what's eating memory on web-3", "top_processes", {"by": "memory", "server": "web-3"}),
        ("什么在吃内存", "top_processes", {"by": "memory"}),
        ("cpu", "top_processes", {"by": "cpu"}),
        ("what is running", "top_processes", {}),
        ("what is the uptime of web-3", "system_load", {"server": "web-3"}),
        ("why is web-4 so slow?", "system_load", {"server": "web-4"}),
        ("系统负载", "system_load", {}),
        ("who listens on 8080", "listening_ports", {"port": 8080}),
        ("is anything listening on port 8080?", "listening_ports", {"port": 8080}),
        ("is port 443 open?", "listening_ports", {"port": 443}),
        ("what's on port 443", "listening_ports", {"port": 443}),
        ("open ports on db", "listening_ports", {"server": "db-1"}),
        ("谁在监听8080端口", "listening_ports", {"port": 8080}),
        ("is nginx running?", "service_status", {"service": "nginx"}),
        ("Is postgres up on db-1?", "service_status", {"service": "postgres", "server": "db-1"}),
        ("what's the status of the postgres service", "service_status", {"service": "postgres"}),
        ("status of NetworkManager", "service_status", {"service": "NetworkManager"}),
        ("did sshd restart?", "service_status", {"service": "sshd"}),
        ("nginx 在运行吗", "service_status", {"service": "nginx"}),
        ("failed services", "service_status", {}),
        ("last 20 log lines of sshd", "service_logs", {"service": "sshd", "lines": 20}),
        ("last 5000 log lines of sshd", "service_logs", {"service": "sshd", "lines": 200}),
        ("nginx logs on web-3", "service_logs", {"service": "nginx", "server": "web-3"}),
        ("logs on nginx", "service_logs", {"service": "nginx"}),
        ("why did nginx crash last night?", "service_logs", {"service": "nginx"}),
        ("any errors in docker?", "service_logs", {"service": "docker"}),
        ("查看sshd最近20行日志", "service_logs", {"service": "sshd", "lines": 20}),
        ("show me /etc/hosts", "read_file", {"path": "/etc/hosts"}),
        ("查看/etc/hosts", "read_file", {"path": "/etc/hosts"}),
        ("tail /var/log/syslog", "read_file", {"path": "/var/log/syslog", "tail_lines": 40}),
        (
            "last 5 lines of /var/log/Xorg.0.log",
            "read_file",
            {"path": "/var/log/Xorg.0.log", "tail_lines": 5},
        ),
        ("which servers do you know", "list_servers", {}),
        ("哪些服务器", "list_servers", {}),
    ],
)
def test_a_question_is_understood(text: str, tool: str, arguments: dict[str, object]) -> None:
    """One tool, with the values that the message holds, however it is worded."""
    assert calls(text) == [(tool, arguments)]


@pytest.mark.parametrize(
    "text",
    [
        "everything ok?",
        "health",
        "status",
        "is the server up?",
        "how is it going with the server",
        "anything wrong?",
        "一切正常吗",
        "服务器还好吗",
        "Is everything OK??",
    ],
)
def test_health_is_four_checks(text: str) -> None:
    """Disk, memory, load and failed services together."""
    assert calls(text) == [(tool, {}) for tool in HEALTH]


@pytest.mark.parametrize(
    "text", ["health on db", "is db-1 ok?", "how is db-1 doing?", "db-1 status"]
)
def test_health_of_one_server(text: str) -> None:
    """A server's name is never taken for a service's."""
    assert calls(text) == [(tool, {"server": "db-1"}) for tool in HEALTH]


def test_two_checks_in_one_message() -> None:
    """An "and" asks for both, in the order of the message."""
    assert [tool for tool, _ in calls("show memory and disk usage")] == [
        "memory_usage",
        "disk_usage",
    ]


@pytest.mark.parametrize("text", ["disk on all servers", "disk everywhere", "所有服务器的磁盘"])
def test_every_server(text: str) -> None:
    """One call for each server."""
    assert [arguments for _, arguments in calls(text)] == [
        {"server": "db-1"},
        {"server": "web-3"},
        {"server": "web-4"},
    ]


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("restart nginx", "restart"),
        ("please delete /var/log/syslog", "delete"),
        ("can you kill the process that eats memory", "kill"),
        ("Stop nginx on web-3", "stop"),
        ("重启 nginx", "重启"),
        ("请帮我清理磁盘", "清理"),
    ],
)
def test_a_request_to_change_something_is_not_taken_for_a_question(text: str, verb: str) -> None:
    """The offline engine looks, and never pretends to have done more."""
    assert plan(text) == WouldChange(verb=verb)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "你好",
        "how do I write a great novel about memory loss in old age that sells people everywhere",
        "???",
        "/",
    ],
)
def test_what_is_not_understood_is_not_guessed(text: str) -> None:
    """A coincidence of one word in a long message is no match."""
    assert plan(text) is None


@given(st.text())
def test_any_message_has_a_plan_or_none(text: str) -> None:
    """No message breaks it, and a plan is the same each time."""
    assert plan(text) == plan(text)


def test_a_skill_with_the_verb_may_change() -> None:
    """A team's own skill may call a tool that changes something: the door decides then."""
    skill = parse_skill(
        "---\ntriggers: ['restart {service}']\ntool: service_control\n"
        "arguments: {action: restart, service: '{service}'}\n---\n",
        default_name="restart",
    )
    found = make_plan("please restart nginx", SkillLibrary(skills=(skill,)), FLEET, SPECS)
    assert isinstance(found, Plan)
    assert [(call.name, call.arguments) for call in found.calls] == [
        ("service_control", {"action": "restart", "service": "nginx"})
    ]


class Door(Turn):
    """The contract kit's turn with the fleet's specs and outputs given by the test."""

    outputs: dict[str, ToolResult]

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools of the fleet."""
        return SPECS

    async def _run(self, call: ToolCall) -> ToolResult:
        self.ran[call.name] += 1
        return self.outputs.get(call.name, ToolResult(output=f"web-3: {call.name} is fine."))


def door(outputs: dict[str, ToolResult] | None = None, **fields: object) -> Door:
    """A door whose tools answer like this."""
    made = Door(**fields)  # type: ignore[arg-type]
    made.outputs = outputs or {}
    return made


def engine(*skills: str) -> RunbookEngine:
    """The engine with the built-in skills, or with these."""
    library = SkillLibrary(
        skills=tuple(parse_skill(text, default_name=f"s{n}") for n, text in enumerate(skills))
    )
    return RunbookEngine(
        skills=FixedShelf(library if skills else SKILLS),
        inventory=FakeFleet(hosts={"web-3": FakeHost()}),
    )


async def test_an_answer_and_where_it_comes_from() -> None:
    """The tool's output, one quiet line about the offline engine, and no model call."""
    turn = door()
    end = await turn.play(engine(), turn.request("disk?"))
    assert end == Completed(stop_reason=StopReason.END)
    answer, _, quiet = turn.shown.rpartition("\n\n")
    assert answer == "web-3: disk_usage is fine."
    assert quiet.startswith("_Offline engine:")
    assert "ANTHROPIC_API_KEY" in quiet
    assert "\n" not in quiet
    assert [(event.call_id, event.tool) for event in turn.of(ToolStarted)] == [
        ("rb1", "disk_usage")
    ]
    assert [event.ok for event in turn.of(ToolFinished)] == [True]
    assert not turn.meter.reserved


@pytest.mark.parametrize(
    ("why", "text", "said", "advised"),
    [
        (WhyOffline.UNKNOWN, "disk?", "none is configured or none can be reached", True),
        (WhyOffline.NO_KEY, "disk?", "because no API key is configured.", True),
        (WhyOffline.CHOSEN, "disk?", "because the engine `runbook` was chosen, by", False),
        (WhyOffline.UNKNOWN, "磁盘空间", "没有配置模型或暂时无法连接。", True),
        (WhyOffline.NO_KEY, "磁盘空间", "没有配置 API 密钥。", True),
        (WhyOffline.CHOSEN, "磁盘空间", "选择了引擎 `runbook`。", False),
    ],
)
async def test_why_no_model_answered(
    why: WhyOffline, text: str, said: str, *, advised: bool
) -> None:
    """The reason in the message's language; a key is asked for only where it would help."""
    turn = door()
    fleet = FakeFleet(hosts={"web-3": FakeHost()})
    chosen = RunbookEngine(skills=FixedShelf(SKILLS), inventory=fleet, why=why)
    await turn.play(chosen, turn.request(text))
    quiet = turn.shown.rpartition("\n\n")[2]
    assert said in quiet
    assert quiet.startswith("_")
    assert quiet.endswith("_")
    assert ("ANTHROPIC_API_KEY" in quiet) is advised


async def test_health_is_judged() -> None:
    """One line for all checks, one for each, and the details of what needs a look."""
    outputs = {
        "disk_usage": ToolResult(output="⚠ web-3: / is 93 % full.\n\n| details |"),
        "memory_usage": ToolResult(output="web-3: fine.\n\n| hidden |"),
        "service_status": ToolResult(output="systemd is gone.", is_error=True),
    }
    turn = door(outputs)
    await turn.play(engine(), turn.request("everything ok?"))
    assert turn.shown.startswith(
        "1 of 4 checks found something. 1 could not be made.\n\n"
        "- ⚠ web-3: / is 93 % full.\n- web-3: fine.\n"
        "- web-3: system_load is fine.\n- systemd is gone.\n\n| details |\n\n_Offline"
    )
    assert [event.call_id for event in turn.of(ToolStarted)] == ["rb1", "rb2", "rb3", "rb4"]


async def test_a_check_that_could_not_be_made_is_not_called_good() -> None:
    """Where systemd does not run, three checks are good and one is unknown."""
    turn = door({"service_status": ToolResult(output="? web-3: systemd does not run here.")})
    await turn.play(engine(), turn.request("health"))
    assert turn.shown.startswith("3 checks look good. 1 could not be made.\n\n")


async def test_a_refused_tool_is_told() -> None:
    """The door's sentence is the answer."""
    turn = door({"service_logs": ToolResult(output="Your role may not.", is_error=True)})
    await turn.play(engine(), turn.request("logs of nginx"))
    assert turn.shown.startswith("Your role may not.")
    assert [event.ok for event in turn.of(ToolFinished)] == [False]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("logs", "Which service? For example: `last 20 log lines of sshd`."),
        ("日志", "请说明服务名称, 例如: `查看 sshd 最近 20 行日志`。"),
        ("tell me a joke", "I did not understand that: without a model"),
        ("讲个笑话", "我没有听懂"),
        ("restart nginx", "I did not restart anything: without a model I only look"),
        ("重启 nginx", "我没有执行“重启”"),
    ],
)
async def test_what_cannot_be_done_is_said(text: str, start: str) -> None:
    """In the language of the message, with examples, and nothing is run."""
    turn = door()
    await turn.play(engine(), turn.request(text))
    assert turn.shown.startswith(start)
    assert not turn.ran


async def test_attachments_are_not_pretended_to_be_read() -> None:
    """Every file is named as unread, and the question is answered all the same."""
    turn = door()
    await turn.play(engine(), turn.request("disk?", attachments=FILES))
    assert turn.shown.startswith(
        "I cannot read what is attached (graph.png, report.pdf, sys.log, empty.txt)"
    )
    assert turn.ran == {"disk_usage": 1}


async def test_a_file_without_a_word() -> None:
    """An empty message with a file gets an answer too."""
    turn = door()
    blob = Attachment(name="a.bin", media_type="application/octet-stream", data=b"\0")
    end = await turn.play(engine(), turn.request("", attachments=(blob,)))
    assert end.stop_reason is StopReason.END
    assert "a.bin" in turn.shown


@pytest.mark.parametrize(
    "text", ["and on web-3?", "what about web-3", "again on web-3", "那 web-3 呢"]
)
async def test_a_follow_up_leans_on_the_question_before(text: str) -> None:
    """The last question is asked again with the new server."""
    turn = door()
    history = (Exchange(user_text="disk on web-9", reply="No such server."),)
    await turn.play(engine(), turn.request(text, history=history))
    assert turn.of(ToolStarted)[0].summary == "disk_usage {'server': 'web-3'}"


async def test_a_skill_without_a_tool_is_read_out() -> None:
    """A team's own notes are the answer."""
    notes = "---\ntriggers: ['rotate logs']\n---\nCall Ann first."
    turn = door()
    await turn.play(engine(notes), turn.request("how do I rotate logs?"))
    assert turn.shown.startswith("Call Ann first.\n\n_Offline")


@pytest.mark.parametrize("cut", range(5))
async def test_a_rerun_repeats_no_committed_call(cut: int) -> None:
    """Wherever it was killed, the answer is the same and committed results are used."""
    whole = door()
    await whole.play(engine(), whole.request("health"))
    assert len(whole.log) == 4
    turn = door(steps=tuple(whole.log[:cut]))
    await turn.play(engine(), turn.request("health", attempt=2))
    assert turn.shown == whole.shown
    assert [event.text for event in turn.of(TextReset)] == [""]
    assert sum(turn.ran.values()) == 4 - cut
    assert turn.log == whole.log


async def test_a_committed_result_of_another_tool_is_not_used() -> None:
    """When skills changed between two attempts, the old rb1 is not taken for the new one."""
    old = ToolStep(tool_call_id="rb1", name="memory_usage", output="old")
    turn = door(steps=(old,))
    await turn.play(engine(), turn.request("disk?", attempt=2))
    assert "old" not in turn.shown
    assert turn.ran == {"disk_usage": 1}


async def test_a_models_finished_answer_is_left_alone() -> None:
    """A re-run that lands here after a model had answered adds nothing."""
    done = ModelStep(call_id="c", engine="claude_api", model="m", text="Done.")
    turn = door(steps=(done,))
    await turn.play(engine(), turn.request("disk?", attempt=2))
    assert turn.shown == "Done."
    assert not turn.of(TextDelta)


async def test_it_goes_on_after_a_models_unfinished_answer() -> None:
    """When the provider died between two steps, what was said stays above the answer."""
    call = ToolCall(id="t1", name="disk_usage")
    cut = ModelStep(call_id="c", engine="claude_api", model="m", text="Let me", tool_calls=(call,))
    turn = door(steps=(cut,))
    await turn.play(engine(), turn.request("disk?", attempt=2))
    assert turn.shown.startswith("Let me\n\nweb-3: disk_usage is fine.")


async def test_closing_it_ends_its_tools(tmp_path: Path) -> None:
    """A stopped turn leaves no call without an owner."""
    turn = door()
    async with aclosing(engine().run(turn.request("health"))) as events:
        async for event in events:
            assert isinstance(event, ToolStarted)
            break
    assert not turn.ran


def test_it_has_no_model() -> None:
    """Histories are not compacted for it."""
    assert engine().name == "runbook"
    assert not engine().has_model


def test_what_the_page_suggests_can_be_answered_without_a_model() -> None:
    """Each question that an empty chat offers finds a routine, in both of the page's languages."""
    page = Path(bots.web.__file__).parent / "page"
    questions = re.findall(r'text: t\("([^"]+)"\)', (page / "chat/welcome.js").read_text())
    chinese = dict(
        re.findall(
            r'^  "([^"]+)": "([^"]+)",$', (page / "words/zh/chat.js").read_text(), re.MULTILINE
        )
    )
    assert len(questions) >= 4
    for question in (*questions, *(chinese[question] for question in questions)):
        assert isinstance(plan(question), Plan), question
