"""Which servers a person means by a name, several names, a group, an environment, or all.

Forgiving for reads: a part of a name is enough when it fits one server, and "web servers" are
those with that word in their names. Never guessing for changes (``exact``): whole names, tags,
environments and "all" alone, and what could mean two different things is a question.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from core.fleet.inventory import Ambiguous, Criticality, Environment, Server, Unknown, resolve

Chosen = tuple[Server, ...] | Ambiguous | Unknown

MAX_CHARS = 2_000
"""Of what somebody may name; the rest is not looked at."""
_MOST_NAMED = 3
_SEPARATORS = re.compile(r"\s*[,;\uff0c\uff1b、&+\n]\s*|\s+(?:and|plus)\s+|\s*(?:和|以及|及|与)\s*")
_EXCEPT = re.compile(r"\s+(?:except(?:\s+for)?|but(?:\s+not)?|without|excluding)\s+|\s*除了?\s*")
_LEADING = re.compile(
    r"^(?:(?:all|every|each|the|my|our|of|whole|entire)\b\s*|[所全]有的?|全部的?|每[台个]|全)+",
    re.IGNORECASE,
)
_EVERY = re.compile(
    r"^(?:the\s+)?(?:all|every|each|whole|entire)\b|^(?:[所全]有|全|每)", re.IGNORECASE
)
"""What says that more than one is meant."""
_SINGULAR = re.compile(r"\s(?:server|host|machine|node|box|one)$", re.IGNORECASE)
_TRAILING = re.compile(
    r"(?:(?:^|\s+)(?:servers?|hosts?|machines?|nodes?|boxes|box|group|fleet|tier|ones?)"
    r"|的?(?:服务器|主机|机器|节点))$",
    re.IGNORECASE,
)
_ALL = frozenset({"all", "*", "everything", "everywhere", "fleet", "全部", "所有", "每台"})
_ENVIRONMENTS = {
    "prod": Environment.PRODUCTION,
    "production": Environment.PRODUCTION,
    "live": Environment.PRODUCTION,
    "生产": Environment.PRODUCTION,
    "生产环境": Environment.PRODUCTION,
    "stage": Environment.STAGING,
    "staging": Environment.STAGING,
    "预发布": Environment.STAGING,
    "预发": Environment.STAGING,
    "dev": Environment.DEVELOPMENT,
    "development": Environment.DEVELOPMENT,
    "开发": Environment.DEVELOPMENT,
    "开发环境": Environment.DEVELOPMENT,
}
_CRITICAL = frozenset({"critical", "关键"})
_PREFIX = re.compile(
    r"^(name|server|tag|tags|group|env|environment|criticality)\s*[:=\uff1a]\s*(.+)$",
    re.IGNORECASE | re.DOTALL,
)


def select(wanted: str, servers: Sequence[Server], *, exact: bool) -> Chosen:
    """The servers that are meant, in their order, each once; never an empty tuple.

    ``exact`` for what changes something. ``name:``, ``tag:`` and ``env:`` say which of them is
    meant. One part that is not understood makes the whole a question.
    """
    text = " ".join(wanted[:MAX_CHARS].split()) if "\n" not in wanted else wanted[:MAX_CHARS]
    text = text.strip().strip("`\"'“”‘’").strip()  # noqa: RUF001  # quotes as people paste them
    whole = _one(text, servers, exact=exact)
    if isinstance(whole, tuple):
        return whole
    base, *without = _EXCEPT.split(text, maxsplit=1)
    found = _several(base, servers, exact=exact)
    if without and isinstance(found, tuple):
        left_out = _several(without[0], servers, exact=exact)
        if not isinstance(left_out, tuple):
            return left_out
        ids = {server.id for server in left_out}
        found = tuple(server for server in found if server.id not in ids)
    return found or Unknown(nearest=())


def _several(text: str, servers: Sequence[Server], *, exact: bool) -> Chosen:
    parts = [part for part in _SEPARATORS.split(text) if part.strip()]
    if len(parts) < 2:  # noqa: PLR2004  # one, or nothing
        return _one(text, servers, exact=exact)
    ids: set[str] = set()
    for part in parts:
        found = _one(part, servers, exact=exact)
        if not isinstance(found, tuple):
            return found
        ids |= {server.id for server in found}
    return tuple(server for server in servers if server.id in ids)


def _one(text: str, servers: Sequence[Server], *, exact: bool) -> Chosen:
    """What one name or one group means."""
    text = text.strip().strip("`\"'")
    if prefixed := _PREFIX.match(text):
        return _prefixed(prefixed[1].casefold(), prefixed[2].strip(), servers, exact=exact)
    if text.startswith("#"):
        return _prefixed("tag", text[1:].strip(), servers, exact=exact)
    named = _named(text, servers)
    bare, many = _bare(text)
    groups = _groups(text, bare, servers, exact=exact)
    if isinstance(groups, Ambiguous):
        return groups
    if isinstance(named, Server):
        if exact and groups and groups != (named,):
            return _both(named, bare)
        return (named,)
    if groups:
        one = exact and _SINGULAR.search(text) and not _EVERY.match(text)
        return _candidates(groups) if one and len(groups) > 1 else groups
    if isinstance(named, Ambiguous):
        return named
    return _partly(text, bare, servers, exact=exact, many=many)


def _named(text: str, servers: Sequence[Server]) -> Server | Ambiguous | Unknown:
    """The server of a whole name, an id or an address."""
    found = resolve(text, servers, exact=True)
    if isinstance(found, Unknown) and text:
        same = [it for it in servers if text == it.id or text.casefold() == it.address]
        if same:
            return same[0] if len(same) == 1 else _candidates(same)
    return found


def _bare(text: str) -> tuple[str, bool]:
    """Without "all" and "servers", and whether one of them was there."""
    bare = _TRAILING.sub("", _LEADING.sub("", text).strip()).strip()
    return bare, bare != text.strip()


def _prefixed(kind: str, value: str, servers: Sequence[Server], *, exact: bool) -> Chosen:
    if kind in {"name", "server"}:
        named = resolve(value, servers, exact=exact)
        return (named,) if isinstance(named, Server) else named
    found = _kept(_test(kind, value.casefold()), servers)
    return found or Unknown(nearest=_near(value, servers))


def _test(kind: str, value: str) -> Callable[[Server], bool]:
    match kind:
        case "tag" | "tags" | "group":
            return lambda server: value in server.tags
        case "criticality":
            return lambda server: server.criticality == value
        case _:
            return lambda server: server.environment == _ENVIRONMENTS.get(value, value)


def _groups(
    text: str, bare: str, servers: Sequence[Server], *, exact: bool
) -> tuple[Server, ...] | Ambiguous:
    """All, or the servers of a tag or an environment, or of several at once ("production edge").

    Empty when the words are none; "servers" alone is all of them for a look. A word that is a
    tag and an environment with other servers is a question for a change, and both for a look.
    """
    folded = bare.casefold()
    if folded in _ALL or (not folded and text and (_EVERY.match(text) or not exact)):
        return tuple(servers)
    whole = _group(folded, servers, exact=exact)
    if whole or " " not in folded:
        return whole
    kept: set[str] = {server.id for server in servers}
    for word in folded.split():
        found = _group(word, servers, exact=exact)
        if not found or isinstance(found, Ambiguous):
            return found
        kept &= {server.id for server in found}
    return tuple(server for server in servers if server.id in kept)


def _group(word: str, servers: Sequence[Server], *, exact: bool) -> tuple[Server, ...] | Ambiguous:
    meanings = [_kept(_test("tag", word), servers)]
    if word in _ENVIRONMENTS:
        meanings.append(_kept(_test("env", word), servers))
    if word in _CRITICAL:
        meanings.append(_kept(_test("criticality", Criticality.CRITICAL), servers))
    found = [meaning for meaning in meanings if meaning]
    if exact and len(set(found)) > 1:
        return Ambiguous(candidates=(f"tag:{word}", f"env:{word}"))
    ids = {server.id for meaning in found for server in meaning}
    return tuple(server for server in servers if server.id in ids)


def _both(named: Server, bare: str) -> Ambiguous:
    """A word that is a server's name and a group: whoever changes something says which."""
    word = bare.casefold()
    if not word or word in _ALL:
        return Ambiguous(candidates=(f"name:{named.name}", "all"))
    kind = "env" if word in _ENVIRONMENTS and word not in named.tags else "tag"
    return Ambiguous(candidates=(f"name:{named.name}", f"{kind}:{word}"))


def _partly(
    text: str, bare: str, servers: Sequence[Server], *, exact: bool, many: bool
) -> tuple[Server, ...] | Ambiguous | Unknown:
    """A part of a name, or a pattern such as ``web-*``: enough for a look, a question else."""
    if "*" in text or "?" in text:
        pattern = text.casefold()
        fitting = [s for s in servers if fnmatch.fnmatchcase(s.name.casefold(), pattern)]
        return _look_only(fitting, exact=exact)
    found = resolve(text, servers)
    if isinstance(found, Unknown) and bare and bare != text:
        found = resolve(bare, servers)
    match found:
        case Server():
            return _look_only([found], exact=exact)
        case Ambiguous(candidates=names) if many and not exact:
            return tuple(server for server in servers if server.name in names)
        case Ambiguous():
            return found
        case Unknown(nearest=nearest):
            return Unknown(nearest=nearest or _near(bare or text, servers))


def _look_only(found: Sequence[Server], *, exact: bool) -> Chosen:
    if found and exact:
        return _candidates(found)
    return tuple(found) or Unknown(nearest=())


def _candidates(found: Sequence[Server]) -> Ambiguous:
    return Ambiguous(candidates=tuple(server.name for server in found))


def _kept(fits: Callable[[Server], bool], servers: Iterable[Server]) -> tuple[Server, ...]:
    return tuple(server for server in servers if fits(server))


def _near(wanted: str, servers: Sequence[Server]) -> tuple[str, ...]:
    """Names and tags that look similar."""
    known = {server.name.casefold(): server.name for server in servers}
    known |= {tag: f"tag:{tag}" for server in servers for tag in server.tags}
    near = difflib.get_close_matches(wanted.casefold()[:100], known, n=_MOST_NAMED, cutoff=0.6)
    return tuple(known[name] for name in near)
