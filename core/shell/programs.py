"""Programs whose arguments are a language of their own: which calls only read.

Each function returns why the call may do more than read, as half a sentence; empty: it reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from core.risk import Level
from core.shell.findings import Findings, shown
from core.shell.paths import CLEAR_TREES, check_words
from core.shell.readers import READERS
from core.shell.spec import Opens
from core.shell.wipes import SUSPECTS, is_top
from core.shell.words import DYN, STAR, Word, words_of

_UNKNOWN = "what it is given is only known when it runs"

_FIND_VALUES = words_of(
    "-name -iname -path -ipath -wholename -regex -iregex -type -xtype -size -mtime -mmin -atime "
    "-amin "
    "-ctime -cmin -newer -newermt -user -group -perm -maxdepth -mindepth -uid -gid -links -inum "
    "-fstype -printf -regextype -used -samefile"
)
FIND_BARE = words_of(
    "-print -print0 -ls -prune -quit -o -a -not ! ( ) , -empty -readable -writable -executable "
    "-depth "
    "-xdev -mount -nouser -nogroup -follow -daystart -true -false -L -H -P -noleaf -and -or"
)
_FIND_EXEC = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
FIND_NAMES = frozenset({"-name", "-iname", "-path", "-ipath", "-wholename", "-regex", "-iregex"})
_NARROWING = re.compile(
    r"-i?(?:name|path|regex|wholename)|-[acm](?:time|min)|-newer\w*|-size|-user"
)


def find(words: list[Word], findings: Findings) -> str:
    """``find``: reads unless it has an action; what it runs is judged."""
    args = words[1:]
    starts: list[Word] = []
    while args and not args[0].value.startswith(("-", "(", "!")):
        starts.append(args.pop(0))
    problem = "" if all(word.known for word in starts) else _UNKNOWN
    deletes = False
    while args:
        word = args.pop(0)
        if word.value in _FIND_EXEC:
            inner, args = _until_end(args)
            deletes = deletes or bool(inner and inner[0].value.rpartition("/")[2] in SUSPECTS)
            follows = any(each.value in {"-L", "-follow"} for each in words)
            problem = problem or _run_on_found(starts, inner, findings, follows=follows)
        elif word.value in _FIND_VALUES and args:
            value = args.pop(0)
            problem = problem or ("" if not (value.dynamic or value.odd) else _UNKNOWN)
        elif word.value not in FIND_BARE:
            deletes = deletes or word.value == "-delete"
            problem = problem or f"{word.value} may change something"
    _check_sweep(words, starts, findings, deletes=deletes)
    if problem or any(word.value in _FIND_EXEC for word in words):
        _check_named(words, starts, findings)
    return problem


def _check_sweep(
    words: list[Word], starts: list[Word], findings: Findings, *, deletes: bool
) -> None:
    narrowed = any(_NARROWING.fullmatch(word.value) for word in words)
    if deletes and not narrowed and any(is_top(each, findings, whole=True) for each in starts):
        findings.add(Level.L3, f"{shown(words)} wipes a whole tree of the system")


def _check_named(words: list[Word], starts: list[Word], findings: Findings) -> None:
    """What it looks for by name is touched, so the name counts below every start."""
    for before, word in pairwise(words):
        if before.value in FIND_NAMES:
            below = [Word(f"{start.value}/{word.value}", plain=False) for start in starts[:4]]
            check_words(below, findings, names_only=True, devices=False)


def _until_end(args: list[Word]) -> tuple[list[Word], list[Word]]:
    for index, word in enumerate(args):
        ends = word.value == ";" or (word.value == "+" and index and args[index - 1].value == "{}")
        if ends:
            return args[:index], args[index + 1 :]
    return args, []


def _run_on_found(
    starts: list[Word], inner: list[Word], findings: Findings, *, follows: bool
) -> str:
    if not inner:
        return "it names no command to run"
    reader = READERS.get(inner[0].value)
    named = reader is not None and reader.opens in {Opens.NAMES, Opens.NOTHING}
    clear = (
        not follows and all(_tree(word).startswith(CLEAR_TREES) for word in starts) and bool(starts)
    )
    anchored = all(word.value.startswith(("/", ".")) for word in starts)
    found = "found" if anchored and (named or (clear and _no_way_up(starts))) else DYN
    findings.command(
        [Word(word.value.replace("{}", found), word.plain, word.odd) for word in inner]
    )
    return ""


def _tree(word: Word) -> str:
    return word.value.rstrip("/") + "/"


def _no_way_up(words: list[Word]) -> bool:
    return not any(".." in word.value for word in words)


_SED_ADDRESS = r"(?:\d+|\$|/(?:[^/\\\n\[]|\\[^\n]|\[[^\]/\n]+\])*/I?)"
_SED_COMMAND = re.compile(
    rf"\s*(?:{_SED_ADDRESS}(?:,[+~]?{_SED_ADDRESS})?)?\s*!?\s*"
    r"(?:[pdq=]|s(?P<d>[/|,#:@!])(?:(?!(?P=d))[^\\\n\[]|\\[^\n]|\[(?:(?!(?P=d))[^\]\n])+\])*(?P=d)"
    r"(?:(?!(?P=d))[^\\\n]|\\[^\n])*(?P=d)[gpI0-9]*)\s*(?:;|$|\n)"
)
_SED_FLAGS = frozenset({"-n", "-E", "-r", "-u", "-nE", "-ne", "-e", "-nr", "--quiet", "--posix"})


def sed(words: list[Word], findings: Findings) -> str:
    """``sed``: reads when its script only prints, deletes lines or substitutes in them."""
    del findings
    scripts: list[str] = []
    files: list[str] = []
    expected = False
    for word in words[1:]:
        if not word.known and not (word.glob and scripts):
            return _UNKNOWN
        if expected:
            scripts.append(word.value)
            expected = False
        elif word.value in _SED_FLAGS:
            expected = word.value.endswith("e") and not word.value.startswith("--")
        elif word.value.startswith("-") and word.value != "-":
            return f"{word.value} is not known to only read"
        else:
            files.append(word.value)
    if not scripts and files:
        scripts.append(files.pop(0))
    if all(_sed_reads(script) for script in scripts):
        return ""
    return "its script is not known to only print"


def _sed_reads(script: str) -> bool:
    at = 0
    while at < len(script):
        found = _SED_COMMAND.match(script, at)
        if found is None or found.end() == at:
            return False
        at = found.end()
    return True


_AWK_DANGER = re.compile(
    r"system|getline|\|&|@|ENVIRON|PROCINFO|ARGV|ARGC|(?<!\|)\|(?!\|)|print[^;{}\n]*>|>>|fflush|close"
)


def awk(words: list[Word], findings: Findings) -> str:
    """``awk``: reads when its text runs nothing, writes nothing and opens nothing by itself."""
    del findings
    args = words[1:]
    while args and args[0].value.startswith("-"):
        option = args.pop(0)
        if option.value in {"-F", "-v"} and args:
            value = args.pop(0)
            if not value.known:
                return _UNKNOWN
        elif not re.fullmatch(r"-[Fv].+", option.value) or not option.known:
            return f"{option.shown()} is not known to only read"
    if not args:
        return "it has no program"
    if any(word.dynamic or word.odd or word.braces for word in args) or args[0].glob:
        return _UNKNOWN
    code = args[0].value
    bare = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', code)  # what stands in strings ends no statement
    if re.search(r"\bprintf?\b[\s\S]*>", bare) or "\\\n" in bare:
        return "its program may write a file"
    if "/" not in code and "\\" not in code:
        code = re.sub(r'"[^"\n]*"', '""', code) if not re.search("system|getline", code) else code
    return "its program may write or run something" if _AWK_DANGER.search(code) else ""


_LOOPBACK = re.compile(
    r"(?:https?://)?(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?(?:/[\w./~-]*)?"
)
_CURL_BARE = words_of(
    "-s -S -i -I -v -f -k -sS -sI -si -sf -fsS -sSf -sk -skI -ks -sSI --head --silent --fail "
    "--show-error --include --insecure -4 -6"
)
_CURL_VALUES = frozenset({"-m", "--max-time", "--connect-timeout", "-o", "--output", "-w"})
_CURL_FORMAT = re.compile(r"(?!.*%\{?(?:output|header))[^@].*", re.DOTALL)


def curl(words: list[Word], findings: Findings) -> str:
    """``curl``: reads when it only gets a page of this very machine."""
    del findings
    args, asked = words[1:], 0
    while args:
        word = args.pop(0)
        if not word.known or word.odd:
            return _UNKNOWN
        if word.value in _CURL_VALUES and args:
            value = args.pop(0)
            target = word.value in {"-o", "--output"}
            if not value.known or (target and value.value != "/dev/null"):
                return "it writes a file"
            if word.value == "-w" and not _CURL_FORMAT.fullmatch(value.value):
                return "its format may write a file"
        elif word.value in _CURL_BARE:
            continue
        elif _LOOPBACK.fullmatch(word.value) and ".." not in word.value:
            asked += 1
        else:
            return "it talks to the network, so data can leave"
    return "" if asked else "it has no address"


_X509 = words_of(
    "-noout -text -dates -enddate -startdate -subject -issuer -serial -fingerprint -sha256 "
    "-sha1 -modulus "
    "-ext -purpose -hash -email -ocsp_uri"
)


def openssl(words: list[Word], findings: Findings) -> str:
    """``openssl x509 -noout``: shows what a certificate says."""
    del findings
    values = [word.value for word in words[1:]]
    if values[:1] in (["version"], ["ciphers"]):
        return "" if all(re.fullmatch(r"-?[\w:+!@]+", each) for each in values) else _UNKNOWN
    if values[:1] != ["x509"] or "-noout" not in values or not all(w.known for w in words):
        return "it may use keys or write files"
    rest = values[1:]
    while rest:
        option = rest.pop(0)
        if option in {"-in", "-inform", "-checkend", "-checkhost", "-nameopt"} and rest:
            rest.pop(0)
        elif option not in _X509:
            return f"{option} is not known to only read"
    return ""


def shows_certificate(words: list[Word]) -> bool:
    """Whether it only prints certificates, which are public also where keys are kept."""
    values = [word.value for word in words]
    names = [words[i + 1].value for i, value in enumerate(values[:-1]) if value == "-in"]
    public = re.compile(r"(?:.*/)?(?![^/]*(?:key|priv))[^/]*\.(?:pem|crt|cer)", re.IGNORECASE)
    return values[1:2] == ["x509"] and bool(names) and all(public.fullmatch(n) for n in names)


_TAR_LIST = re.compile(r"-?t[vzjJ]*f|-?[vzjJ]+tv?f")


def tar(words: list[Word], findings: Findings) -> str:
    """``tar tf FILE``: lists what is in it."""
    del findings
    values = [word.value for word in words[1:]]
    listing = len(values) == 2 and _TAR_LIST.fullmatch(values[0]) and ":" not in values[1]  # noqa: PLR2004
    if listing and not values[1].startswith("-") and all(word.known for word in words):
        return ""
    return "it packs or unpacks files"


_RECURSIVE = re.compile(r"-[A-Za-z]*[rR][A-Za-z]*|--recursive|--dereference-recursive")


def grep(words: list[Word], findings: Findings) -> str:
    """``grep -r`` reads every file of a tree: only where nobody keeps keys."""
    del findings
    if not any(_RECURSIVE.fullmatch(word.value) for word in words[1:]):
        return ""
    places = [word for word in words[1:] if not word.value.startswith("-")][1:]
    trees = [_tree(word) for word in places]
    for tree in trees:
        if not tree.startswith(CLEAR_TREES) or ".." in tree or STAR in tree:
            return "it reads every file of a tree, also those with secrets"
    return "" if trees else "it reads every file of a tree, also those with secrets"


def ps(words: list[Word], findings: Findings) -> str:
    """``ps -o environ`` shows what ``/proc/*/environ`` holds."""
    del findings
    return "it shows environments" if any("environ" in word.value for word in words) else ""


def nslookup(words: list[Word], findings: Findings) -> str:
    """``nslookup`` without a name asks for whatever it is fed, so data can leave."""
    del findings
    names = [word.value for word in words[1:] if not word.value.startswith("-")]
    return "" if names and "-" not in {word.value for word in words} else "it asks what it is fed"


def diff(words: list[Word], findings: Findings) -> str:
    """``diff DIR FILE`` opens the file of that name in the directory, whatever it is."""
    del findings
    named = [word.value for word in words[1:] if not word.value.startswith("-")]
    plain = all("." in value.rpartition("/")[2].lstrip(".") for value in named)
    return "" if plain else "it may open files of a directory that it does not name"


SPEAK = words_of("dig getent host mtr nc nslookup ping ping6 tracepath traceroute")
"""Programs that only read, and send what they are given to others while they do."""
_NO_NAME = re.compile(
    r"(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}|localhost|\d{1,5}"
    r"|a{1,4}|any|cname|mx|ns|ptr|soa|srv|txt",
    re.IGNORECASE,
)


def tells_a_name(words: list[Word]) -> bool:
    """Whether it asks for more than addresses and record types: a name may hold a secret."""
    values = [word.value.lstrip("@") for word in words[1:] if word.value[:1] not in {"-", "+"}]
    if words[0].value.rpartition("/")[2] == "getent":
        values = values[1:] if values[:1] in (["hosts"], ["ahosts"], ["ahostsv4"]) else []
    return any(not _NO_NAME.fullmatch(value) for value in values)


def systemctl(words: list[Word], findings: Findings) -> str:
    """``systemctl show -p Environment`` shows where many services keep their secrets."""
    del findings
    secret = any("Environment" in word.value for word in words)
    return "it shows the environment of a service, where secrets may be" if secret else ""


SPECIAL: dict[str, Callable[[list[Word], Findings], str]] = {
    "find": find,
    "sed": sed,
    "awk": awk,
    "gawk": awk,
    "mawk": awk,
    "curl": curl,
    "openssl": openssl,
    "tar": tar,
}
ALSO: dict[str, Callable[[list[Word], Findings], str]] = {
    "grep": grep,
    "egrep": grep,
    "fgrep": grep,
    "ps": ps,
    "nslookup": nslookup,
    "systemctl": systemctl,
    "diff": diff,
}
"""Asked besides the table of readers."""
