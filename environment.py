"""Named text values from the environment and from ``.env``, checked one by one.

``Reader`` takes values by name and notes what is wrong with them instead of stopping, so that
the operator sees every problem at once. It knows no variable of IT0: ``settings`` does.
"""

from __future__ import annotations

import difflib
import io
import ipaddress
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from dotenv.parser import parse_stream

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_INTEGER = re.compile(r"-?[0-9]{1,12}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable that IT0 reads."""

    name: str
    purpose: str
    """What it is for and what happens without it; one line, for the operator."""
    secret: bool = False


class Reader:
    """Takes values by name and notes what is wrong with them, instead of stopping."""

    def __init__(
        self,
        variables: Iterable[Variable],
        environ: Mapping[str, str],
        dotenv_path: Path | None,
    ) -> None:
        """Take the values of the variables; the environment wins over the file."""
        variables = tuple(variables)
        self._names = frozenset(variable.name for variable in variables)
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._secret = {variable.name for variable in variables if variable.secret}
        self._values: dict[str, str] = {}
        file = self._read_dotenv(dotenv_path) if dotenv_path else {}
        self._seen = {*file, *environ}
        for source in (file, environ):  # the environment last: it wins
            for name in self._names & source.keys():
                value = source[name].strip()
                if value and self._is_clean(name, value):
                    self._values[name] = value

    def value(self, name: str) -> str | None:
        """Return the text as it was given, stripped, or None when unset or empty."""
        return self._values.get(name)

    def given(self) -> dict[str, str]:
        """Return what was set, with the values of secrets replaced."""
        return {
            name: "(hidden)" if name in self._secret else value
            for name, value in self._values.items()
        }

    def unknown_names(self) -> list[str]:
        """Return a warning for every ``IT0_`` name that nobody reads, with the nearest one."""
        warnings = []
        for name in sorted(self._seen - self._names):
            if not name.startswith("IT0_"):
                continue
            near = difflib.get_close_matches(name, self._names, n=1, cutoff=0.75)
            hint = f" Did you mean {near[0]}?" if near else ""
            warnings.append(f"{name} is set, but IT0 knows no such setting.{hint}")
        return warnings

    def text(self, name: str, default: str, pattern: re.Pattern[str], accepted: str) -> str:
        """Return text that matches the whole pattern."""
        value = self._values.get(name)
        if value is None:
            return default
        if not pattern.fullmatch(value):
            self.refuse(name, accepted)
            return default
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number between the bounds, both included."""
        value = self._values.get(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value) or not low <= int(value) <= high:
            self.refuse(name, f"a whole number from {low} to {high}")
            return default
        return int(value)

    def seconds(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number of seconds between the bounds, both included."""
        value = self._values.get(name)
        if value is None:
            return default
        if not _NUMBER.fullmatch(value) or not low <= float(value) <= high:
            self.refuse(name, f"seconds from {low:g} to {high:g}")
            return default
        return float(value)

    def choice(self, name: str, accepted: tuple[str, ...]) -> str | None:
        """Return one of the accepted words, or None when unset or refused."""
        value = self._values.get(name)
        if value is not None and value not in accepted:
            self.refuse(name, f"{', '.join(accepted[:-1])} or {accepted[-1]}")
            return None
        return value

    def url(self, name: str, schemes: tuple[str, ...], *, credentials: bool = False) -> str | None:
        """Return a URL without a trailing slash, or None when unset or refused."""
        value = self._values.get(name)
        if value is None:
            return None
        parts = split_url(value)
        if (
            parts is None
            or parts.scheme not in schemes
            or not parts.hostname
            or parts.fragment
            or (not credentials and (parts.username is not None or parts.query))
        ):
            example = " or ".join(f"{scheme}://HOST" for scheme in schemes)
            rest = "" if credentials else ", without user, password and query"
            self.refuse(name, f"{example}{rest}", hidden=parts is None or bool(parts.password))
            return None
        return value.rstrip("/")

    def host(self, name: str, default: str) -> str:
        """Return an IP address without brackets, or a host name."""
        value = self._values.get(name, default)
        try:
            return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
        except ValueError:
            if _HOST.fullmatch(value) and not re.fullmatch(r"[0-9.]+", value):
                return value
        self.refuse(name, "an address such as 127.0.0.1, 0.0.0.0 or ::1, or a host name")
        return default

    def refuse(self, name: str, accepted: str, *, hidden: bool = False) -> None:
        """Note that a value cannot be used; shows it unless it is a secret."""
        hidden = hidden or name in self._secret
        shown = (
            "has a value that" if hidden else f"is {_shorten(self._values.get(name, ''))}, which"
        )
        self.problems.append(f"{name} {shown} cannot be used. Accepted: {accepted}.")

    def _is_clean(self, name: str, value: str) -> bool:
        if value.isprintable():
            return True
        self.problems.append(
            f"{name} contains a control character or invalid text. Type the value again."
        )
        return False

    def _is_ours(self, path: Path) -> bool:
        """Whether nobody else could have written the file: it chooses database and provider."""
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            self.problems.append(f"{path} cannot be read: it is not a regular file.")
        elif found.st_uid not in (0, os.geteuid()):
            self.problems.append(
                f"{path} belongs to another user, who could change what IT0 does. Make it your "
                "own (chown), or remove it."
            )
        elif found.st_mode & stat.S_IWOTH or (
            found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
        ):
            self.problems.append(
                f"{path} can be written by other users, who could change what IT0 does. "
                f"Run: chmod go-w {path}"
            )
        else:
            return True
        return False

    def _read_dotenv(self, path: Path) -> dict[str, str]:
        try:
            if not self._is_ours(path):
                return {}
            text = path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.problems.append(f"{path} cannot be read: {error.strerror}.")
            return {}
        except UnicodeDecodeError:
            self.problems.append(f"{path} is not UTF-8 text. Save it as UTF-8.")
            return {}
        values: dict[str, str] = {}
        for binding in parse_stream(io.StringIO(text)):
            if binding.error:
                line = binding.original.line
                self.problems.append(f"{path}, line {line}: write NAME=VALUE, one a line.")
            elif binding.key is not None:
                values[binding.key] = binding.value or ""
        return values


def split_url(value: str) -> SplitResult | None:
    """Split a URL, or return None when it has a bad port, a bad address or blanks."""
    try:
        parts = urlsplit(value)
        if parts.port == 0 or re.search(r"\s", value):
            return None
    except ValueError:
        return None
    return parts


def _shorten(value: str, limit: int = 80) -> str:
    return repr(value if len(value) <= limit else value[:limit] + "...")
