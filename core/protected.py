"""What nobody may read through IT0 (level L3): keys, credentials, IT0's own data.

The rules are data: a glob over path components and the reason that is told to the user.
They are matched against every way a path can be spelled (case, doubled slashes, ``.`` and
``..``, trailing dots), because a wrong refusal costs a sentence and a wrong permission
costs a server. Links are no business of this module: the host asks again with the path of
the file it really opened.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_PROCESS = "it belongs to the inside of a process, where secrets are"
_BACK_DOOR = "it reaches files through another process; name the file itself"
_KEY = "it may hold a private key"
_CREDENTIALS = "it may hold credentials"
_PASSWORDS = "it holds password hashes"
_HISTORY = "a shell history often holds secrets"
_DEVICE = "it is a device or the kernel's memory"
_OWN = "it belongs to IT0 itself"
_ODD = "no honest path looks like this"

RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        _PROCESS,
        (
            "/proc/**/environ",
            "/proc/**/mem",
            "/proc/*/**/cmdline",
            "/proc/**/auxv",
            "/proc/**/stack",
            "/proc/**/pagemap",
            "/proc/keys",
        ),
    ),
    (
        _DEVICE,
        (
            "/proc/kcore",
            "/proc/kmsg",
            "/proc/sysrq-trigger",
            "/proc/kallsyms",
            "/dev/**",
            "/sys/firmware/efi/efivars/**",
        ),
    ),
    (
        _KEY,
        (
            "**/.ssh/**",
            "**/.gnupg/**",
            "**/id_rsa*",
            "**/id_dsa*",
            "**/id_ecdsa*",
            "**/id_ed25519*",
            "**/id_xmss*",
            "**/ssh_host_*key",
            "**/*.pem",
            "**/*.key",
            "**/*.p12",
            "**/*.pfx",
            "**/*.ppk",
            "**/*.jks",
            "**/*.keystore",
            "**/*.kdbx",
            "**/*.keytab",
            "**/*.ovpn",
            "/var/lib/tor/**/hs_*_secret_key",
            "/etc/ssl/private/**",
            "/usr/lib/ssl/private/**",
            "/etc/pki/**/private/**",
            "/etc/letsencrypt/archive/**",
            "/etc/letsencrypt/live/**",
            "/etc/letsencrypt/keys/**",
            "/etc/letsencrypt/accounts/**",
            "/etc/wireguard/**",
            "/etc/kubernetes/pki/**",
            "/var/lib/acme/**",
            "/var/lib/caddy/**/certificates/**",
        ),
    ),
    (
        _CREDENTIALS,
        (
            "**/.claude/**",
            "**/.claude.json*",
            "**/.aws/**",
            "**/.azure/**",
            "**/.kube/**",
            "**/.config/gcloud/**",
            "**/.config/gh/**",
            "**/.config/git/credentials",
            "**/.config/hcloud/**",
            "**/.config/helm/**",
            "**/.config/sops/**",
            "**/.local/share/keyrings/**",
            "**/.terraformrc",
            "**/.m2/settings.xml",
            "**/.bundle/config",
            "**/.fetchmailrc",
            "**/.msmtprc",
            "/etc/msmtprc",
            "/etc/ddclient.conf",
            "**/.ansible_vault_pass*",
            "/var/lib/rancher/**",
            "**/.config/op/**",
            "**/.config/rclone/**",
            "**/.config/anthropic/**",
            "**/.config/chromium/**",
            "**/.config/google-chrome/**",
            "**/.config/doctl/**",
            "**/.config/hub",
            "**/.mozilla/**",
            "**/.fly/config.yml",
            "**/.codex/auth.json",
            "**/.cargo/credentials*",
            "**/.gem/credentials",
            "**/containers/auth.json",
            "**/.docker/config.json*",
            "**/.dockercfg",
            "**/.netrc",
            "**/_netrc",
            "/etc/nix/netrc",
            "/etc/postfix/sasl_passwd*",
            "/etc/postfix/sasl/**",
            "/etc/exim4/passwd.client*",
            "**/.vault_pass*",
            "**/vault_pass*",
            "**/.pgpass",
            "**/.my.cnf",
            "**/.mylogin.cnf",
            "/etc/mysql/debian.cnf",
            "**/.git-credentials",
            "**/.npmrc",
            "**/.pypirc",
            "**/.htpasswd*",
            "**/.vault-token",
            "**/.boto",
            "**/.s3cfg",
            "**/.terraform.d/**",
            "**/*.tfstate",
            "**/*.tfstate.backup",
            "**/.env",
            "**/.envrc",
            "**/.password-store/**",
            "/etc/ipsec.secrets",
            "/etc/ppp/*-secrets",
            "/etc/sssd/**",
            "/etc/networkmanager/system-connections/**",
            "/etc/wpa_supplicant/**",
            "/etc/kubernetes/*.conf",
            "/etc/rancher/**",
            "/etc/credstore*/**",
            "/run/secrets/**",
            "/var/run/secrets/**",
            "/run/credentials/**",
            "/run/user/*/keyring/**",
            "/var/lib/kubelet/**",
            "/var/lib/systemd/credential.secret",
            "/var/lib/docker/containers/*/config.v2.json",
            "/var/lib/cloud/**/user-data*",
        ),
    ),
    (
        _PASSWORDS,
        (
            "**/etc/shadow*",
            "**/etc/gshadow*",
            "**/shadow.bak*",
            "**/gshadow.bak*",
            "/etc/security/opasswd*",
            "/etc/master.passwd",
        ),
    ),
    (
        _HISTORY,
        (
            "**/.*_history*",
            "**/.*_hist",
            "**/.histfile",
            "**/.history/**",
            "**/fish_history",
            "**/.lesshst",
            "**/.viminfo",
        ),
    ),
)

_ENV_VARIANT = re.compile(r"(?:.*/)?\.env\.(?!(?:example|sample|template|dist)$)[^/]*")
_BARE_ID = re.compile(r"(?:.*/)?id_[^./]+(?:\.(?:bak|old|orig|save))?")
"""``id_backup`` is a key; ``id_map.txt`` is not."""

_COPY = re.compile(
    r"(?:~|\.~\d+~|[._-](?:bak|backup|old|orig|save|saved|copy|tmp|new|prev|sw[a-p])\d{0,14}"
    r"|\.(?:dpkg|ucf|rpm|pac)-?[a-z]{1,8}|[.-]\d[\d-]{0,18})$"
)
"""What editors, package managers and people put behind the name of a copy."""
_MAX_COPIES = 4
"""Of copies of copies, which are looked through."""

_BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database file: the same rows."""

_BACK_DOORS = frozenset({"root", "cwd", "fd", "map_files", "exe"})
_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\u00ad]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedPaths:
    """Answers whether a path is forbidden.

    ``own`` are directories and files of IT0 itself (its data directory, its ``.env``), as
    absolute paths; everything below them is protected too.
    """

    own: tuple[str, ...] = ()

    @classmethod
    def of(cls, *paths: str | os.PathLike[str]) -> ProtectedPaths:
        """Protect these paths of IT0, under their given names and where their links lead."""
        spellings: list[str] = []
        for path in paths:
            for name in (os.path.abspath(path), os.path.realpath(path)):  # noqa: PTH100  # text
                spellings += [name, *(name + suffix for suffix in _BESIDE_A_DATABASE)]
        return cls(own=tuple(dict.fromkeys(spellings)))

    def why(self, path: str) -> str | None:
        """The reason why this path is forbidden, as half a sentence, or None when it is not."""
        if "\0" in path:
            return _ODD
        alive = path.removesuffix(" (deleted)")
        for spelling in dict.fromkeys((path, alive, _look_alike(path), _look_alike(alive))):
            for parts in _readings(spelling):
                reason = self._reason(parts)
                if reason:
                    return reason
        return None

    def _reason(self, parts: tuple[str, ...]) -> str | None:
        text = "/" + "/".join(parts)
        if any(_is_inside(parts, _fold(own)) for own in self.own):
            return _OWN
        if _is_back_door(parts):
            return _BACK_DOOR
        for reason, pattern in _COMPILED:
            if pattern.fullmatch(text):
                return reason
        return None


def _readings(path: str) -> Iterator[tuple[str, ...]]:
    """Every reading of a path: with ``..`` carried out, and as it passes by.

    ``/proc/1/cwd/../x`` is looked at when it stands in ``/proc/1/cwd`` too, because the
    kernel follows that link before it goes up.
    """
    stack: list[str] = []
    for part in _components(path):
        if part == "..":
            if _is_back_door(tuple(stack)):
                yield tuple(stack)
            del stack[-1:]
        else:
            stack.append(part)
    yield tuple(stack)
    whole = tuple(stack)
    trimmed = tuple(part.rstrip(". ") or part for part in stack)
    copied = tuple(_original(part) for part in trimmed)
    undotted = tuple(part.removeprefix(".") or part for part in copied)
    for reading in (trimmed, copied, undotted):
        if reading != whole and (reading is not undotted or copied != trimmed):
            yield reading


def _original(part: str) -> str:
    """The name that a copy was made of: ``secret.key`` for ``secret.key.bak`` and ``#secret.key#``.

    Vim calls its copy of ``secret.key`` ``.secret.key.swp``.
    """
    if len(part) > 2 and part.startswith("#") and part.endswith("#"):  # noqa: PLR2004
        part = part[1:-1]
    for _ in range(_MAX_COPIES):
        shorter = _COPY.sub("", part)
        if shorter in {"", ".", part}:
            break
        part = shorter
    return part


def _look_alike(path: str) -> str:
    """The path as a person would read it: full-width letters narrow, no invisible ones."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", path))


def _components(path: str) -> list[str]:
    return [part for part in path.casefold().split("/") if part not in {"", "."}]


def _fold(path: str) -> tuple[str, ...]:
    return tuple(_components(path))


def _is_inside(parts: tuple[str, ...], folder: tuple[str, ...]) -> bool:
    return bool(folder) and parts[: len(folder)] == folder


def _is_back_door(parts: tuple[str, ...]) -> bool:
    return parts[:1] == ("proc",) and any(part in _BACK_DOORS for part in parts[2:])


def _compile(glob: str) -> str:
    """``**/`` is any number of components, ``/**`` the directory itself and all below."""
    if glob.startswith("**/"):
        glob = "/" + glob
    regex = re.escape(glob).replace(r"/\*\*/", r"/(?:[^/]+/)*")
    if regex.endswith(r"/\*\*"):
        regex = regex.removesuffix(r"/\*\*") + "(?:/.*)?"
    return regex.replace(r"\*", "[^/]*")


_COMPILED = (
    *((reason, re.compile("|".join(_compile(glob) for glob in globs))) for reason, globs in RULES),
    (_CREDENTIALS, _ENV_VARIANT),
    (_KEY, _BARE_ID),
)
