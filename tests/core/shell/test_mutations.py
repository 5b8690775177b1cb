"""Dangerous commands in disguise: whatever is done to them, they never look harmless."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.protected import ProtectedPaths
from core.risk import Level
from core.shell.judge import LONGEST, judge
from tests.core.shell.commands import FORBIDDEN, READS, RISKY, SMALL, commands

OWN = ProtectedPaths(own=("/srv/it0/data", "/srv/it0/.env"))
RISKS = [each for block in (RISKY, FORBIDDEN) for each in commands(block)]
EVERY = [*commands(READS), *commands(SMALL), *RISKS]
_SPELLING = re.compile(r"[\"'`$\\{}(),*?]")
"""What is left without it shows a command that is odd only by how it is written."""
_HARMLESS = re.compile(r"ls\b.*|/b.*ls.*|l\w? ?|x=1|.*-I.*")
PLAIN = [
    each
    for each in RISKS
    if each.isprintable() and not _HARMLESS.fullmatch(_SPELLING.sub("", each))
]

Mutation = Callable[[str, random.Random], str]


def _in_name(change: Callable[[str, int], str]) -> Mutation:
    """Change a letter of the first word."""

    def mutate(text: str, rng: random.Random) -> str:
        name, _, rest = text.partition(" ")
        if not name.isalnum():
            return text
        return f"{change(name, rng.randrange(len(name)))} {rest}"

    return mutate


def _wrap(form: str) -> Mutation:
    """Put the command into another; ``{}`` is the text, ``{q}`` the text as one quoted word."""
    return lambda text, _: filled(form, text)


def filled(form: str, text: str) -> str:
    """The form with the text in it; braces of the text stay what they are."""
    return re.sub(r"\{q?\}", lambda m: text if m[0] == "{}" else shlex.quote(text), form)


NAMES: tuple[Mutation, ...] = (
    _in_name(lambda name, at: f"{name[:at]}\\{name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}''{name[at:]}"),
    _in_name(lambda name, at: f'{name[:at]}""{name[at:]}'),
    _in_name(lambda name, at: f'{name[:at]}"{name[at]}"{name[at + 1 :]}'),
    _in_name(lambda name, at: f"{name[:at]}$@{name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}${{x}}{name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}$(){name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}``{name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}\\\n{name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}?{name[at + 1 :]}"),
    _in_name(lambda name, at: f"{name[:at]}[{name[at]}]{name[at + 1 :]}"),
    _in_name(lambda name, at: f"{name[:at]}{{{name[at]},}}{name[at + 1 :]}"),
    _in_name(lambda name, at: f"$'{name[:at]}\\x{ord(name[at]):02x}{name[at + 1 :]}'"),
    _in_name(lambda name, at: f"$'{name[:at]}\\{ord(name[at]):o}{name[at + 1 :]}'"),
    _in_name(lambda name, at: f"{name[:at]}\u200b{name[at:]}"),
    _in_name(lambda name, at: f"{name[:at]}{chr(ord(name[at]) + 0xFEE0)}{name[at + 1 :]}"),
    _in_name(lambda name, at: f"/bin/{name}"),
    _in_name(lambda name, at: f"/usr/bin/../bin/{name}"),
    _in_name(lambda name, at: f"x={name}; $x"),
    _in_name(lambda name, at: f"x={name[:at]} y={name[at:]}; $x$y"),
    _in_name(lambda name, at: f"alias z={name}; z"),
    _in_name(lambda name, at: f"$(echo {name})"),
    _in_name(lambda name, at: f"`echo {name}`"),
    _in_name(lambda name, at: f"for c in {name}; do $c"),
    _in_name(lambda name, at: f"{name} \\\n"),
    _in_name(lambda name, at: f"{name}\t"),
    _in_name(lambda name, at: f"{name}$IFS"),
    _in_name(lambda name, at: f"{name}${{IFS}}"),
)
FORMS = (
    "sh -c {q}", "bash -c {q}", "bash -lc {q}", "dash -ec {q}", "eval {q}", "sudo sh -c {q}",
    "su -c {q}", "env sh -c {q}", "timeout 9 sh -c {q}", "nohup sh -c {q}", "xargs sh -c {q}",
    "ssh host {q}", "watch {q}", "script -c {q}", "docker exec c sh -c {q}", "trap {q} EXIT",
    "echo {q} | sh", "printf {q} | bash", "bash <<< {q}", "find . -exec sh -c {q} ';'",
    'sh -c "sh -c {q}"', "systemd-run sh -c {q}", "nice sh -c {q}", "time sh -c {q}",
    "echo x | xargs -I% sh -c {q}", "command sh -c {q}", "exec sh -c {q}", "setsid sh -c {q}",
)  # fmt: skip
AROUND = (
    "{}\n", "\n{}", "{} ", "  {}", "\t{}", "ls; {}", "ls;{}", "{}; ls", "ls && {}", "ls || {}",
    "ls | {}", "{} | cat", "ls\n{}\nls", "( {} )", "{ {}; }", "! {}", "if true; then {}; fi",
    "if {}; then ls; fi", "while {}; do ls; done", "for i in 1 2; do {}; done",
    "case a in a) {};; esac", "f() { {}; }; f", "echo $({})", 'echo "$({})"', "echo $( {} )",
    "x=$({})", "ls $({})", "cat <({})", "cat <<E\n$({})\nE", "echo ${x:-$({})}",
    "echo $((1 + $({})))", "# a comment\n{}", "{} # a comment", ": ; {}", "true && {}",
    "cat <<'E'\nx\nE\n{}", "echo 'a' ; {}", "LC_ALL=C {}", "LD_PRELOAD=/x {}", "PATH=/x {}",
    "time {}", "{} &", "ls & {}", "{} 2>/dev/null", "{} >/dev/null 2>&1", "[ -d / ] && {}",
    "until {}; do ls; done", "echo a\\\nb; {}", "echo \"$({})\" '#'", "sleep 1; {}",
)  # fmt: skip
PREFIXES = (
    "sudo {}", "sudo -n {}", "doas {}", "env {}", "env LANG=C {}", "timeout 5 {}", "nice {}",
    "nice -n 5 {}", "nohup {}", "stdbuf -oL {}", "command {}", "exec {}", "xargs {}", "setsid {}",
    "busybox {}", "ionice -c 3 {}", "chroot /srv {}", "ssh host {}", "watch {}", "builtin {}",
    "docker exec web {}", "kubectl exec web -- {}", "nsenter -t 1 -m {}", "strace {}",
)  # fmt: skip
LETTERS: tuple[Mutation, ...] = (
    lambda text, rng: _insert(text, rng, "\u200b"),
    lambda text, rng: _insert(text, rng, "\u00a0"),
    lambda text, rng: _insert(text, rng, "\r"),
    lambda text, rng: _insert(text, rng, "\0"),
    lambda text, rng: _insert(text, rng, "\u202e"),
    lambda text, rng: _insert(text, rng, "\x0b"),
)
WRAPS = tuple(_wrap(form) for form in (*FORMS, *AROUND))
ANY_MUTATION = (*NAMES, *WRAPS, *(_wrap(form) for form in PREFIXES), *LETTERS)


def _insert(text: str, rng: random.Random, char: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + char + text[at:]


def _disguised(rng: random.Random) -> tuple[str, str]:
    text = original = rng.choice(PLAIN)
    if rng.random() < 0.6:
        text = rng.choice(NAMES)(text, rng)
    for _ in range(rng.randrange(1, 4)):
        text = rng.choice(ANY_MUTATION[len(NAMES) :])(text, rng)
    return original, text


def _too_low(seed: int, rounds: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    pairs = [_disguised(rng) for _ in range(rounds)]
    return [pair for pair in pairs if judge(pair[1], OWN).level < Level.L2]


def test_no_disguise_makes_a_dangerous_command_look_harmless() -> None:
    """Quoting, splitting, encodings, wrappers, here-documents, variables: it stays L2 or L3."""
    assert _too_low(seed=6, rounds=400) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(8))
def test_no_disguise_ever_makes_a_dangerous_command_look_harmless(seed: int) -> None:
    """The same, for tens of thousands of disguises."""
    assert _too_low(seed=1000 + seed, rounds=5000) == []


@pytest.mark.parametrize("mutation", range(len(NAMES)))
def test_each_disguise_of_a_name(mutation: int) -> None:
    """Each way of hiding a name is tried on commands whose name alone is the danger."""
    rng = random.Random(mutation)
    names = ("rm x", "reboot now", "mkfs /srv/x", "python3 x.py", "rm -rf /")
    assert [
        text for name in names if judge(text := NAMES[mutation](name, rng), OWN).level < Level.L2
    ] == []


@pytest.mark.parametrize("form", [*AROUND, *PREFIXES])
def test_wrapping_never_lowers_a_level(form: str) -> None:
    """A command inside another is at least as grave as alone."""
    rng = random.Random(form)
    chosen = rng.sample([each for each in EVERY if "\n" not in each and "#" not in each], 12)
    lower = []
    for command in chosen:
        alone = judge(command, OWN).level
        inside = judge(filled(form, command), OWN).level
        if inside < min(alone, Level.L2) or (alone is Level.L3 and inside < Level.L2):
            lower.append((command, alone, inside))
    assert lower == []


@pytest.mark.parametrize("form", [*AROUND, *PREFIXES, *FORMS])
def test_a_wipe_stays_forbidden_in_every_wrapping(form: str) -> None:
    """The whole-system wipe and the theft of the password file are refused wherever they hide."""
    for command in ("rm -rf /", "cat /etc/shadow"):
        text = filled(form, command)
        assert judge(text, OWN).level is Level.L3, text


@given(st.text())
@settings(max_examples=80, deadline=None)
def test_no_text_makes_it_raise(text: str) -> None:
    """Any text gets a level, also one that is no shell at all."""
    assert judge(text, OWN).level in Level


WIDE = ("\U0010ffff", "\U000e0001", "\U0001f600", "\U000f0000", "\u3000", "é", "你")
STARTS = ("<<", "<<-", "$", "${", "[[ ", "(", "=~ ", "{", "#", "1", '"', "'", "* ")


@given(st.lists(st.sampled_from([*WIDE, *STARTS, "\n", ";", " ", "rm"]), max_size=12).map("".join))
@settings(max_examples=400, deadline=None)
def test_no_emoji_kills_the_process(text: str) -> None:
    """The grammar's scanner reads behind a table where a character is no byte."""
    assert judge(text, OWN).level in Level


@pytest.mark.parametrize("name", ["/srv/donn\u00e9es", "/srv/数据", "/srv/\U0001f600"])
def test_paths_are_read_as_they_were_written(name: str) -> None:
    """What is protected is found in any alphabet, quoted or not."""
    paths = ProtectedPaths(own=(name,))
    for form in ("cat {}/key", "cat '{}/key'", "echo hi > {}/key"):
        assert judge(form.format(name), paths).level is Level.L3, form


PIECES = [*"|&;<>(){}[]$`\"'\\#*?!~=\n\t ", "$(", "${", "$((", "<<E\n", "\nE\n", "ls", "rm", "/etc/shadow",
          "if", "then", "fi", "for", "in", "do", "done", "case", "esac", "[[", "]]", "x=", "-c", "sh",
          "\ud800", "é", "\0", "\r", "function", "f()", "<(", ">&", "2>", "&&", "||", ";;"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@settings(max_examples=120, deadline=None)
def test_no_broken_shell_makes_it_raise(text: str) -> None:
    """Half constructs, lone surrogates and nested quotes are judged, never a crash."""
    assert judge(text, OWN).level in Level


@pytest.mark.parametrize(
    "text",
    [
        "ls " * 6000,
        "ls | " * 3900 + "ls",
        "ls && " * 3000 + "ls",
        "$(" * 6000,
        "(" * 19_000,
        "`" * 19_999,
        '"' * 19_999,
        "{" * 19_999,
        "cat /*/*/*/*/* " * 1200,
        "cat " + "a" * 15_000,
        "cat " + "a=" * 9000,
        "cat " + "/a" * 9000,
        "cat " + "*" * 9000,
        "cat {a,b}" * 2000,
        "echo " + "{a,b}" * 3000,
        "sudo " * 3900 + "ls",
        "env " * 4000 + "ls",
        "rm " * 6000,
        "ssh " + "rm / " * 3900,
        "python3 -c " + "'rm' " * 3300,
        "cd a; " * 3300,
        "for i in a b c; do " * 900,
        "for i in 1 2 3 4 5; do for j in 1 2 3 4 5; do for k in 1 2 3 4 5; do ls; done; done; done",
        "f() { f; }; " * 1500,
        "sed -n '" + "/a/p;" * 3000 + "'",
        "awk '{print " + ">" * 9000 + "}'",
        "cat <<A\n" * 2200,
        "a=(" * 6000,
        "x=1 " * 4900,
        "find . " + "-o " * 6000,
        "[[ " * 6000,
        "case x in " * 1900,
    ],
    ids=lambda text: text[:16].strip(),
)
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_hostile_texts_are_judged_without_exponential_work(text: str) -> None:
    """Repetition and nesting up to the longest text end in a level, not in a hang."""
    assert len(text) <= LONGEST
    assert judge(text, OWN).level in Level


def test_too_long_and_too_deep_wait_for_a_human() -> None:
    """What is not read whole is never harmless."""
    assert judge("ls " * 10_000, OWN).level is Level.L2
    assert judge("echo " + "$(" * 45 + "ls" + ")" * 45, OWN).level is Level.L2
    assert judge("$(echo " * 45 + "ls" + ")" * 45, OWN).level is Level.L2
    assert judge("echo " + "$(echo " * 20 + "ls" + ")" * 20, OWN).level is Level.L0
    nested = "ls"
    for _ in range(8):
        nested = f"sh -c {shlex.quote(nested)}"
    assert judge(nested, OWN).level is Level.L0
    assert judge("rm -rf / " + "x" * LONGEST, OWN).level is Level.L3
