"""When the certificates of a server end: those that it serves, and those in the usual files.

Only ``openssl x509 -noout`` looks at files: it prints dates and names, never a key.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.fleet.host import Host
from core.fleet.report import Report, Verdict, clean, count, failure, table

LOOK_DAYS = 30
ACT_DAYS = 7
MAX_ENDPOINTS = 10
_TIMEOUT_S = 60.0
_MAX_BYTES = 1024 * 1024
_ENDPOINT = re.compile(
    r"((?=[^:]*[A-Za-z0-9])[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(\d{1,5}))?"
)
_MAX_PORT = 65_535
_NAMES = 6
_DAY_S = 86_400

SCRIPT = r"""
command -v openssl >/dev/null 2>&1 || exit 127
limit=; command -v timeout >/dev/null 2>&1 && limit='timeout 8'
show() { openssl x509 -noout -enddate -subject -ext subjectAltName 2>/dev/null \
  || { echo "@none"; }; }
echo "@now $(date +%s)"
for e in "$@"; do
  h=${e%:*}; n=; case $h in localhost|*[!0-9.]*[!0-9.:]*) n="-servername $h";; esac
  case $h in localhost|\[*) n=;; esac
  echo "@at $e"
  $limit openssl s_client -connect "$e" $n </dev/null 2>/dev/null | show
done
echo "@files"
find /etc/letsencrypt/live /etc/nginx /etc/apache2 /etc/httpd /etc/haproxy /etc/postfix \
  /etc/dovecot /etc/exim4 /etc/pki/tls/certs /etc/kubernetes/pki /etc/ssl /var/lib/caddy \
  /var/lib/postgresql /etc/postgresql /etc/mysql /etc/openvpn /etc/ldap -maxdepth 6 \
  \( -path /etc/ssl/certs -o -path /etc/ssl/private \) -prune -o \
  \( -type f -o -type l \) \( -name '*.crt' -o -name '*.cer' -o -name 'cert*.pem' \
  -o -name '*fullchain*.pem' -o -name '*.pem' \) ! -name '*key*' ! -name 'chain*.pem' \
  ! -name 'ca-bundle*' ! -name 'dhparam*' -print 2>/dev/null | head -n 100 |
while IFS= read -r f; do
  grep -q 'BEGIN.* CERTIFICATE' "$f" 2>/dev/null || continue
  echo "@at $f"; show <"$f"
done
exit 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate as it was found."""

    where: str
    """An endpoint, or a file's path."""
    ends_s: int | None
    """Epoch seconds; None when there was none to read."""
    subject: str = ""
    hosts: tuple[str, ...] = ()


def endpoints_of(text: str) -> tuple[str, ...] | str:
    """``host:port`` each, from a list with commas or spaces; or a sentence."""
    found: list[str] = []
    for piece in text.replace(",", " ").split():
        match = _ENDPOINT.fullmatch(piece)
        port = int(match[2] or 443) if match else 0
        if match is None or not 1 <= port <= _MAX_PORT:
            return f"{clean(piece)[:80]!r} is no endpoint; such look like example.com:443."
        found.append(f"{match[1]}:{port}")
    if len(found) > MAX_ENDPOINTS:
        return f"At most {MAX_ENDPOINTS} endpoints at once."
    return tuple(dict.fromkeys(found)) or ("localhost:443",)


def parse_certificates(text: str) -> tuple[int | None, tuple[Certificate, ...]]:
    """Read the output of ``SCRIPT``: the server's time and what was found."""
    now: int | None = None
    found: list[Certificate] = []
    where, block = "", list[str]()
    for line in [*text.splitlines(), "@end"]:
        if not line.startswith("@") or line == "@none":
            block.append(line)
            continue
        if where:
            found.append(_certificate(where, block))
        where = line.removeprefix("@at ") if line.startswith("@at ") else ""
        block = []
        if line.startswith("@now ") and line[5:].strip().isascii() and line[5:].strip().isdigit():
            now = int(line[5:][:12])
    return now, tuple(found)


async def certificates(host: Host, endpoints: Sequence[str]) -> Report:
    """Report how long the certificates are good for, the soonest first."""
    words = " ".join(shlex.quote(each) for each in endpoints)
    result = await host.shell(
        f"set -- {words}\n{SCRIPT}", timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
    )
    if result.missing:
        return failure("I cannot tell: `openssl` is not installed there.")
    now, found = parse_certificates(result.stdout)
    if now is None:
        return failure("I cannot tell: the server did not answer the question in time.")
    return judge_certificates(found, now)


def judge_certificates(found: Sequence[Certificate], now_s: int) -> Report:
    """Say which ends first and which have ended."""
    dated = sorted(
        ((each.ends_s - now_s) // _DAY_S, each) for each in _known(found) if each.ends_s is not None
    )
    silent = [each.where for each in found if each.ends_s is None and not _is_file(each)]
    note = f" No certificate at {', '.join(map(clean, silent))}." if silent else ""
    if not dated:
        return Report(headline=f"no certificate found.{note}", verdict=Verdict.UNKNOWN)
    days, first = dated[0]
    soon = sum(left < LOOK_DAYS for left, _ in dated)
    ends = f"ended {-days} days ago" if days < 0 else f"ends in {count(days, 'day')}"
    many = f"{count(len(dated), 'certificate')}; " if len(dated) > 1 else ""
    more = f"; {soon} of them within {LOOK_DAYS} days" if soon > 1 else ""
    verdict = Verdict.ACT if days < ACT_DAYS else Verdict.LOOK if soon else Verdict.FINE
    return Report(
        headline=f"{many}{_named(first)} ({clean(first.where)}) {ends}{more}.{note}",
        details=table(
            ("Days left", "Ends", "Names", "Where"),
            (
                (
                    str(left),
                    datetime.fromtimestamp(each.ends_s or 0, UTC).date().isoformat(),
                    ", ".join(each.hosts[:_NAMES]) or each.subject,
                    each.where,
                )
                for left, each in dated
            ),
        ),
        verdict=max(verdict, Verdict.LOOK) if silent and len(silent) < len(found) else verdict,
    )


def _known(found: Sequence[Certificate]) -> list[Certificate]:
    """Each certificate once: a file and the links to it say the same."""
    kept: dict[tuple[int | None, str, tuple[str, ...], bool], Certificate] = {}
    for each in found:
        kept.setdefault((each.ends_s, each.subject, each.hosts, _is_file(each)), each)
    return list(kept.values())


def _certificate(where: str, block: Sequence[str]) -> Certificate:
    ends: int | None = None
    subject, hosts = "", list[str]()
    for line in block:
        if line.startswith("notAfter="):
            ends = _date(line.removeprefix("notAfter="))
        elif line.startswith("subject="):
            subject = clean(line.removeprefix("subject="))[:200]
        else:
            hosts += re.findall(r"(?:DNS|IP Address):([^\s,]{1,253})", line)
    return Certificate(where=where, ends_s=ends, subject=subject, hosts=tuple(hosts[:100]))


def _date(text: str) -> int | None:
    """``Nov 22 10:00:00 2027 GMT``, as OpenSSL writes it."""
    try:
        at = datetime.strptime(f"{' '.join(text.split())} +0000", "%b %d %H:%M:%S %Y GMT %z")
        return int(at.timestamp())
    except (ValueError, OverflowError):
        return None


def _named(each: Certificate) -> str:
    return clean(each.hosts[0] if each.hosts else each.subject or "a certificate")


def _is_file(each: Certificate) -> bool:
    return each.where.startswith("/")
