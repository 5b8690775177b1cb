"""Judges one command: its name and its arguments, and the command inside it if there is one."""

from __future__ import annotations

import re

from core.risk import Level
from core.shell.changes import CHANGES, EASY_PLACES, L1_OPTIONS, Change
from core.shell.findings import Findings, shown
from core.shell.paths import check_words
from core.shell.programs import (
    ALSO,
    FIND_BARE,
    FIND_NAMES,
    SPEAK,
    SPECIAL,
    shows_certificate,
    tells_a_name,
)
from core.shell.readers import READERS
from core.shell.readers_services import VERSION_FLAGS, VERSIONED
from core.shell.running import INSIDE, judge_shell, judge_wrapper
from core.shell.spec import Opens, operands_of, why_not_reading
from core.shell.wipes import SUSPECTS, check_wipe
from core.shell.words import Word, words_of
from core.shell.wrappers import CODE, RUNS_TEXT, SHELLS, WRAPPERS

_PLACES = ("/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/")
_NAME = re.compile(r"[A-Za-z0-9_.:\[+-]+")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|`([^`]*)`")
_BRACKETED = re.compile(r"[{(]([^{}()]*)[})]")
_DISK_PROGRAMS = words_of(
    "fdisk parted fsck e2fsck mount umount tune2fs resize2fs xfs_growfs xfs_info blockdev pvcreate "
    "vgcreate vgextend lvextend partprobe"
)
_MOST_INNER = 24
_MOST_SLICE = 200


def judge_command(words: list[Word], findings: Findings) -> None:
    """Judge a command into the findings."""
    if not words or not findings.spend():
        return
    name = _name(words, findings)
    _check_paths(name, words, findings)
    check_wipe(name if words[0].known else "rm", words, findings)
    if not _reads(name, words, findings):
        _look_inside(name, words, findings)
    _raise(name, words, findings)


def _name(words: list[Word], findings: Findings) -> str:
    first = words[0]
    if not first.known:
        findings.add(Level.L2, f"{shown(words)}: which program that is, is only known when it runs")
    elif not first.plain or first.odd:
        findings.add(Level.L2, f"{shown(words)}: the name of the program is written in disguise")
    name = first.value
    for place in _PLACES:
        if name.startswith(place):
            name = name.removeprefix(place)
            break
    return name


def _check_paths(name: str, words: list[Word], findings: Findings) -> None:
    if name == "openssl" and shows_certificate(words):
        return
    reader = READERS.get(name)
    opens = None if reader is None else reader.opens
    words = _without_patterns(name, words) if reader or name == "find" else words
    named = words[:1] if "/" in words[0].value or not words[0].known else []
    check_words(
        named + words[1:],
        findings,
        names_only=opens in {Opens.NAMES, Opens.NOTHING} or name == "find",
        devices=opens in {Opens.NAMES, Opens.DEVICES} or name in _DISK_PROGRAMS,
    )


def _without_patterns(name: str, words: list[Word]) -> list[Word]:
    """Leave out what is compared with names or lines and never opened."""
    if name == "find":
        acts = any(word.value.startswith(("-exec", "-ok")) for word in words)
        return [
            word
            for before, word in zip([Word(""), *words], words, strict=False)
            if (acts or before.value not in FIND_NAMES) and word.value not in FIND_BARE
        ]
    if name in {"grep", "egrep", "fgrep"} and not any(
        word.value.startswith(("-e", "--regexp")) for word in words
    ):
        operands = operands_of(READERS[name], words[1:])
        if operands and "/" not in operands[0].value and operands[0].known:
            return [word for word in words if word is not operands[0]]
    return words


def _reads(name: str, words: list[Word], findings: Findings) -> bool:
    """Judge what the command does by itself; False: it is not known, look inside."""
    if name in findings.functions:
        return True
    if name in VERSIONED and [word.value for word in words[1:]] in ([f] for f in VERSION_FLAGS):
        return True
    if name in SHELLS:
        judge_shell(words, findings)
        return False
    if name in INSIDE:
        INSIDE[name](words, findings)
        return False
    if name in WRAPPERS:
        judge_wrapper(WRAPPERS[name], words, findings)
        return False
    problem = _why_not(name, words, findings)
    if not problem:
        if name in SPEAK and tells_a_name(words):
            findings.add(Level.L1, f"{shown(words)} tells the network a name")
        return True
    _judge_change(name, words, findings, problem)
    return False


def _why_not(name: str, words: list[Word], findings: Findings) -> str:
    if not _NAME.fullmatch(name):
        return "it is not a known program"
    if name in SPECIAL:
        return SPECIAL[name](words, findings)
    reader = READERS.get(name)
    if reader is None:
        return "it is not known what it does"
    if name == "set" and len(words) == 1:
        return "it shows every variable"
    problem = why_not_reading(reader, words[1:])
    return problem or (ALSO[name](words, findings) if name in ALSO else "")


def _judge_change(name: str, words: list[Word], findings: Findings, problem: str) -> None:
    change, operands = _change(name, words)
    if change is None:
        findings.add(Level.L2, f"{shown(words)}: {problem}")
        return
    level = change.level
    if level is Level.L1 and not _small(name, words, findings):
        level = Level.L2
    findings.add(level, f"{shown(words)} {change.why}")
    if change.undo and all(word.known for word in operands):
        texts = [word.shown() for word in operands]
        if texts and not any(text.startswith("-") for text in texts):
            findings.undone_by(_hint(change.undo, texts))


def _hint(undo: str, texts: list[str]) -> str:
    if "{" not in undo:
        return undo if " " in undo else f"{undo} {texts[-1]}"
    return undo.replace("{*}", " ".join(texts)).replace("{0}", texts[0])


def _change(name: str, words: list[Word]) -> tuple[Change | None, list[Word]]:
    """The table's row: by the first words, where they stand first; by the operands otherwise."""
    operands = [word for word in words[1:] if not word.value.startswith("-")]
    for count in (2, 1):
        key = " ".join([name, *(word.value for word in words[1 : 1 + count])])
        if key in CHANGES:
            rest = [word for word in words[1 + count :] if not word.value.startswith("-")]
            return CHANGES[key], rest
    for count in (2, 1, 0):
        key = " ".join([name, *(word.value for word in operands[:count])])
        row = CHANGES.get(key)
        if row is not None and (row.level > Level.L1 or not count):
            return row, operands[count:]
    return None, []


def _small(name: str, words: list[Word], findings: Findings) -> bool:
    """Whether a small change stays small: no odd option, nothing unknown, a harmless place."""
    for word in words[1:]:
        option = word.value.startswith("-") and word.value != "-s"
        if not word.known or word.odd or (option and word.value not in L1_OPTIONS):
            return False
        if name in {"mkdir", "touch"} and not option and not _easy(word.value, findings):
            return False
    return True


def _easy(path: str, findings: Findings) -> bool:
    if ".." in path or path.startswith("~"):
        return False
    places = [path] if path.startswith("/") else [f"{each}/" for each in findings.dirs]
    hidden = any(part.startswith(".") for part in path.split("/"))
    return not hidden and all(place.startswith(EASY_PLACES) for place in places)


def _look_inside(name: str, words: list[Word], findings: Findings) -> None:
    """Search the arguments of what may run another command for what nobody may run."""
    suspects = 0
    for index, word in enumerate(words[1:], 1):
        base = word.value.rpartition("/")[2]
        if (base in SUSPECTS or base.startswith("mkfs")) and suspects < _MOST_INNER:
            suspects += 1
            check_wipe(base, words[index : index + _MOST_SLICE], findings)
    if name in RUNS_TEXT or name in CODE or not words[0].known:
        texts = [word.shown() for word in words[1 : 1 + _MOST_INNER]]
        candidates = [text for text in texts if " " in text]
        if len(texts) > 1 and name in RUNS_TEXT:
            candidates += [" ".join(texts), " ".join(texts[1:])]
        if name in CODE or name in RUNS_TEXT:
            for text in texts:
                quoted = ["".join(each) for each in _QUOTED.findall(text)][:_MOST_INNER]
                candidates += [*quoted, " ".join(quoted), *_BRACKETED.findall(text)[:_MOST_INNER]]
                candidates += [text.rpartition(mark)[2] for mark in "=!"]
        for text in dict.fromkeys(candidates[: 2 * _MOST_INNER]):
            findings.forbidden_in(text)


def _raise(name: str, words: list[Word], findings: Findings) -> None:
    operands = [word.value for word in words[1:] if not word.value.startswith("-")]
    for count in range(3):
        key = " ".join([name, *operands[:count]])
        level = findings.raised.get(key)
        if level is not None and len(operands) >= count:
            findings.add(level, f"{shown(words)}: your team set `{key}` to level {level.name}")
