"""What the offline engine says, in English and in Simplified Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


class WhyOffline(StrEnum):
    """Why no model answers; the installation knows."""

    UNKNOWN = "unknown"
    NO_KEY = "no_key"
    """No engine with a model is configured."""
    OUTAGE = "outage"
    """The model that should answer cannot; what the turn says above tells why."""
    REFUSED = "refused"
    """The meter refused the model's call; what the turn says besides tells why."""
    CHOSEN = "chosen"
    """A model could be asked, but the setting or the message chose this engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The sentences of one language; braces are filled in by the engine."""

    offline: str
    """Begins the line about the engine; one of the reasons follows."""
    why_unknown: str
    why_no_key: str
    why_outage: str
    why_refused: str
    why_chosen: str
    examples: str
    unmatched: str
    would_change: str
    missing: str
    attachments: str
    left_out: str
    all_well: str
    not_well: str
    could_not: str
    again: str


ENGLISH = Words(
    offline="_Offline engine: answered without a model, because {why}_",
    why_unknown="none is configured or none can be reached right now. "
    "Set `ANTHROPIC_API_KEY` and restart IT0 to talk to a model.",
    why_no_key="no API key is configured. "
    "Set `ANTHROPIC_API_KEY` and restart IT0 to talk to a model.",
    why_outage="the model cannot answer right now.",
    why_refused="the model may not be asked right now.",
    why_chosen="the engine `runbook` was chosen, by the settings or with the message.",
    examples="""- `everything ok?` (disk, memory, load, failed services)
- `how full is the disk?`, `what's eating memory?`, `cpu`
- `is nginx running?`, `last 20 log lines of sshd`
- `who listens on 8080?`, `open ports`
- `show /etc/hosts`, `tail /var/log/syslog`
- add `on SERVER` when there are several; `which servers are there?`""",
    unmatched="I did not understand that: without a model I only know fixed routines. "
    "You can ask me, for example:\n\n{examples}",
    would_change="I did not {verb} anything: without a model I only look, I change nothing. "
    "You can ask me, for example:\n\n{examples}",
    missing="Which {what}? For example: {example}.",
    attachments="I cannot read what is attached ({names}): that needs a model.",
    left_out="{count} more servers were left out; name one to see it.",
    all_well="{count} checks look good.",
    not_well="{bad} of {count} checks found something.",
    could_not="{count} could not be made.",
    again="The answer starts again, because the first attempt was interrupted.",
)

CHINESE = Words(
    offline="_离线引擎: 本回答没有使用模型, 因为{why}_",
    why_unknown="没有配置模型或暂时无法连接。设置 `ANTHROPIC_API_KEY` 并重启 IT0 即可使用模型。",
    why_no_key="没有配置 API 密钥。设置 `ANTHROPIC_API_KEY` 并重启 IT0 即可使用模型。",
    why_outage="模型暂时无法回答。",
    why_refused="目前不能使用模型。",
    why_chosen="设置或消息选择了引擎 `runbook`。",
    examples="""- `一切正常吗` (磁盘、内存、负载、失败的服务)
- `磁盘空间`、`什么在吃内存`、`cpu`
- `nginx 在运行吗`、`查看 sshd 最近 20 行日志`
- `谁在监听 8080 端口`、`端口`
- `查看 /etc/hosts`、`/var/log/syslog 最后 20 行`
- 有多台服务器时请写出名称; `哪些服务器`""",
    unmatched="我没有听懂: 没有模型时我只会固定的检查。您可以这样问我:\n\n{examples}",
    would_change=(
        "我没有执行“{verb}”: 没有模型时我只查看, 不做任何更改。您可以这样问我:\n\n{examples}"
    ),
    missing="请说明{what}, 例如: {example}。",
    attachments="我无法读取附件 ({names}): 这需要模型。",
    left_out="还有 {count} 台服务器没有检查, 请指定名称。",
    all_well="{count} 项检查都正常。",
    not_well="{count} 项检查中有 {bad} 项需要注意。",
    could_not="{count} 项检查无法完成。",
    again="上一次回答被中断, 现在重新开始。",
)

_WHAT = {
    ENGLISH: {"service": "service", "path": "file", "port": "port", "server": "server"},
    CHINESE: {"service": "服务名称", "path": "文件路径", "port": "端口", "server": "服务器"},
}
_EXAMPLES = {
    ENGLISH: {
        "service": "`last 20 log lines of sshd`",
        "path": "`show /etc/hosts`",
        "port": "`who listens on 8080`",
    },
    CHINESE: {
        "service": "`查看 sshd 最近 20 行日志`",
        "path": "`查看 /etc/hosts`",
        "port": "`谁在监听 8080 端口`",
    },
}


def words_for(text: str) -> Words:
    """Chinese for a message with Chinese characters, else English."""
    return CHINESE if _HAN.search(text) else ENGLISH


def offline_line(words: Words, why: WhyOffline) -> str:
    """The quiet line under an answer: that no model made it, and why."""
    match why:
        case WhyOffline.UNKNOWN:
            because = words.why_unknown
        case WhyOffline.NO_KEY:
            because = words.why_no_key
        case WhyOffline.OUTAGE:
            because = words.why_outage
        case WhyOffline.REFUSED:
            because = words.why_refused
        case WhyOffline.CHOSEN:
            because = words.why_chosen
    return words.offline.format(why=because)


def ask_for(words: Words, argument: str) -> str:
    """The question for an argument that a message lacks."""
    return words.missing.format(
        what=_WHAT[words].get(argument, argument),
        example=_EXAMPLES[words].get(argument, f"`{argument}=...`"),
    )
