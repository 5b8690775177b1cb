"""From a message to a plan: which skill is meant, on which servers, with which values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from core.fleet.inventory import Environment, Server, resolve
from core.skill_triggers import NO_NAMES, NUMBERS, slot_accepts, tokens
from core.skills import Match, Skill, SkillLibrary, slot_of
from core.steps import ToolCall
from core.tools import ToolSpec

_COUNTS = frozenset({"lines", "tail_lines", "limit"})
MAX_SERVERS = 10
"""Most servers that one message is run on."""
_MAX_STRANGE_WORDS = 6
"""With more words than this that mean nothing here, a weak match is a coincidence."""
_WEAK = 2.0
_PLACE = re.compile(r"(?:on|at|from|for|in|of|@)$", re.IGNORECASE)
_CHANGING_VERBS = """
    restart reload start stop kill terminate delete remove rm erase wipe clean clear purge reboot
    shutdown poweroff halt install uninstall upgrade update deploy rollback drop create add
    enable disable edit write change set move rename truncate rotate fix format mount unmount
    umount scale drain ban block unblock chmod chown renew reset run execute
"""
_CHANGES = frozenset(_CHANGING_VERBS.split())
_CHANGES_HAN = re.compile(
    r"^(?:请|麻烦|帮我|帮忙|给我|你|能否|能不能|可以|把\S{1,20}?)*"
    r"(?:重启|重新启动|启动|停止|停掉|关闭|关机|杀掉|杀死|删除|删掉|清理|清空|安装|卸载|升级|更新|部署|回滚|修改|修复)"
)
_POLITE_WORDS = """
    please can could would you will kindly just go and now hey hi ok okay lets let us pls i want
    need to id like we must should
"""
_POLITE = frozenset(_POLITE_WORDS.split())
_ALL = re.compile(
    r"\b(?:all|every|each)\b.*\b(?:servers?|machines?|hosts?|box(?:es)?)\b|everywhere",
    re.IGNORECASE,
)
_MACHINES = frozenset({"servers", "machines", "hosts", "boxes", "nodes"})
_AND = re.compile(r"\b(?:and|plus)\b|[,&+、\uff0c和与及]", re.IGNORECASE)
_ALL_HAN = re.compile("所有(?:的)?(?:服务器|机器|主机)|每台|全部服务器")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tool calls that answer a message, in order, under ids that a re-run makes again."""

    skill: Skill
    """The best of the skills that are meant."""
    calls: tuple[ToolCall, ...]
    missing: tuple[str, ...] = ()
    """Arguments that a tool needs and the message does not hold."""
    left_out: int = 0
    """Servers beyond ``MAX_SERVERS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldChange:
    """The message asks to change something, which no skill here does."""

    verb: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A server that a message names, and with which of its words."""

    name: str
    words: tuple[int, ...]


def make_plan(
    text: str, skills: SkillLibrary, servers: Sequence[Server], specs: Sequence[ToolSpec]
) -> Plan | WouldChange | None:
    """Find out what is meant; None when nothing here fits."""
    said = tokens(text)
    matches = _meant(skills.match(text), text, said, servers)
    verb = _change(text, said)
    if verb and not (matches and _covers(matches[0], said, verb)):
        return WouldChange(verb=verb)
    if not matches:
        return None
    match = matches[0]
    covered = frozenset[int]().union(*(each.words for each in matches))
    values = _values(match, covered, said, servers)
    targets = _targets(match.skill, text, said, servers, values)
    known = {spec.name: spec for spec in specs}
    calls: list[ToolCall] = []
    missing: list[str] = []
    for target in targets[:MAX_SERVERS]:
        filled = {**values, "server": target} if target else values
        for step in (step for each in matches for step in each.skill.steps):
            spec = known.get(step.tool)
            arguments = _within(spec, _arguments(step.arguments, filled))
            missing += _missing(spec, arguments)
            calls.append(ToolCall(id=f"rb{len(calls) + 1}", name=step.tool, arguments=arguments))
    return Plan(
        skill=match.skill,
        calls=tuple(calls),
        missing=tuple(dict.fromkeys(missing)),
        left_out=max(0, len(targets) - MAX_SERVERS),
    )


def _meant(
    matches: Sequence[Match], text: str, said: tuple[str, ...], servers: Sequence[Server]
) -> list[Match]:
    """The best match; with an "and", other simple checks that the message names as well."""
    fitting = [match for match in matches if _agrees(match, servers)]
    if not fitting or _is_coincidence(fitting[0], said):
        return []
    meant = [fitting[0]]
    if not _AND.search(text) or not _is_simple(fitting[0]):
        return meant
    for match in fitting[1:]:
        taken = frozenset[int]().union(*(each.words for each in meant))
        if _is_simple(match) and match.words - taken:
            meant.append(match)
    return sorted(meant, key=lambda match: min(match.words))


def _is_simple(match: Match) -> bool:
    return len(match.skill.steps) == 1 and match.skill.slots == {"server"}


def _agrees(match: Match, servers: Sequence[Server]) -> bool:
    """A word taken as a server must be one; a server's whole name is no service's."""
    for slot, value in match.slots:
        if slot == "server" and not isinstance(resolve(value, servers), Server):
            return False
        if slot == "service" and isinstance(resolve(value, servers, exact=True), Server):
            return False
    return True


def _is_coincidence(best: Match, said: tuple[str, ...]) -> bool:
    strange = [
        token
        for at, token in enumerate(said)
        if at not in best.words and token.isascii() and token.casefold() not in NO_NAMES
    ]
    return best.score <= _WEAK and len(strange) > _MAX_STRANGE_WORDS


def _change(text: str, said: tuple[str, ...]) -> str | None:
    """The verb of a request to change something: it leads, as requests do."""
    han = _CHANGES_HAN.match(text.strip())
    if han:
        return han.group()[-2:]
    first = next((token.casefold() for token in said if token.casefold() not in _POLITE), "")
    return first if first in _CHANGES else None


def _covers(match: Match, said: tuple[str, ...], verb: str) -> bool:
    """Whether the skill's own trigger contains the verb: then it is meant to do it."""
    covered = "".join(said[at].casefold() for at in sorted(match.words))
    return verb in covered


def _values(
    match: Match, covered: frozenset[int], said: tuple[str, ...], servers: Sequence[Server]
) -> dict[str, str]:
    """Slot values: from the trigger, else whatever of the message has the right shape."""
    wanted = match.skill.slots
    values = {slot: value for slot, value in match.slots if slot in wanted}
    free = [at for at in range(len(said)) if at not in covered]
    if "server" in wanted and "server" not in values:
        found = _server(said, free, servers, service_wanted="service" in wanted)
        if found:
            values["server"] = found.name
            free = [at for at in free if at not in found.words]
    for slot in ("path", "lines", "port", "service"):
        if slot in wanted and slot not in values:
            at = _loose(slot, said, free)
            if at is not None:
                values[slot] = said[at]
                free.remove(at)
    if "service" in wanted and values.get("service") == values.get("server"):
        values.pop("service", None)
    return values


def _server(
    said: tuple[str, ...], free: list[int], servers: Sequence[Server], *, service_wanted: bool
) -> _Named | None:
    """Where a server is named, and its full name if the fleet has it.

    A word of the fleet is a server wherever it stands. "on X" is one too, even unknown (the
    tool then says which there are), unless X could be the service that is asked about.
    """
    for words in (*pairwise(free), *((at,) for at in free)):
        name = " ".join(said[at] for at in words)
        is_name = words[-1] - words[0] < len(words) and slot_accepts("server", said[words[0]])
        if is_name and not name.isdigit() and isinstance(found := resolve(name, servers), Server):
            return _Named(name=found.name, words=words)
    places = [
        at
        for at in free
        if at
        and _PLACE.match(said[at - 1])
        and slot_accepts("server", said[at])
        and said[at].isascii()
        and not said[at].isdigit()
    ]
    if not places:
        return None
    others = [at for at in free if at != places[-1] and slot_accepts("service", said[at])]
    if service_wanted and not others:
        return None
    return _Named(name=said[places[-1]], words=(places[-1],))


def _loose(slot: str, said: tuple[str, ...], free: list[int]) -> int | None:
    fitting = [at for at in free if slot_accepts(slot, said[at]) and said[at].isascii()]
    return fitting[-1] if slot == "service" and fitting else next(iter(fitting), None)


def _targets(
    skill: Skill,
    text: str,
    said: tuple[str, ...],
    servers: Sequence[Server],
    values: Mapping[str, str],
) -> tuple[str, ...]:
    """The servers to run on; one empty name leaves the choice to the tool."""
    group = _group(said, servers)
    if "server" in skill.slots and group and len(servers) > 1:
        return (group,)
    everywhere = _ALL.search(" ".join(said)) or _ALL_HAN.search(text)
    if "server" in skill.slots and "server" not in values and everywhere and len(servers) > 1:
        return tuple(server.name for server in servers)
    return ("",)


def _group(said: tuple[str, ...], servers: Sequence[Server]) -> str:
    """The tag or environment of "all edge servers", as the tools take it, or nothing."""
    tags = {tag.casefold() for server in servers for tag in server.tags}
    for word, after in pairwise(token.casefold() for token in said):
        if after in _MACHINES and word in tags:
            return f"tag:{word}"
        if after in _MACHINES and word in set(Environment):
            return f"env:{word}"
    return ""


def _arguments(
    template: Sequence[tuple[str, str | int]], values: Mapping[str, str]
) -> dict[str, object]:
    """Fill the slots; an argument whose slot has no value is left out."""
    filled: dict[str, object] = {}
    for name, value in template:
        slot, default = slot_of(value)
        if not slot:
            filled[name] = value
        elif given := values.get(slot) or default:
            filled[name] = int(given) if slot in NUMBERS and given.isdecimal() else given
    return filled


def _within(spec: ToolSpec | None, arguments: dict[str, object]) -> dict[str, object]:
    """Ask for as many lines as there may be when a message asks for more."""
    for param in spec.params if spec else ():
        value = arguments.get(param.name)
        is_count = param.name in _COUNTS and isinstance(value, int)
        if is_count and param.maximum is not None:
            arguments[param.name] = max(param.minimum or 0, min(cast("int", value), param.maximum))
    return arguments


def _missing(spec: ToolSpec | None, arguments: Mapping[str, object]) -> list[str]:
    if spec is None:
        return []
    return [param.name for param in spec.params if param.required and param.name not in arguments]
