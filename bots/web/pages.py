"""The browser page: one shell for all its paths, and its static files.

The files lie in ``bots/web/page``: plain ES modules that need no build. They are read once, at
the first request, and served under an address that holds a digest of all of them, so browsers
keep them for ever and a new version is another address.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from bots.web.problems import NOWHERE, Problem

FOLDER: Final = Path(__file__).parent / "page"
PATHS: Final = (
    "/",
    "/c/{conversation}",
    "/approvals",
    "/plan",
    "/team",
    "/engines",
    "/status",
    "/audit",
    "/settings",
    "/sign-in",
)
"""Every path of the page answers with the same shell; what is shown is decided in the browser."""
_IMPORTS: Final = {
    "preact": "vendor/preact/preact.js",
    "preact/hooks": "vendor/preact/hooks.js",
    "htm": "vendor/htm/htm.js",
    "eventsource-parser": "vendor/eventsource-parser/index.js",
    "markdown-it": "vendor/markdown-it/markdown-it.js",
}
"""Bare names that the modules import, as an import map (HTML standard)."""
_STYLES: Final = ("base", "shell", "list", "attachments", "chat", "markdown", "views")
"""Style sheets in the order in which they hold; they are sent as one."""
_SERVED: Final = frozenset({".js", ".css", ".svg", ".webmanifest"})
_STATIC_IMPORT: Final = re.compile(
    r'^\s*(?:import|export)\s(?:[^"\';]*?\sfrom\s)?\s*["\']([^"\']+)["\']', re.MULTILINE
)
_COMMENT: Final = re.compile(r"^[ ]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/[ ]*)$", re.MULTILINE)
"""A comment that has its lines to itself. No line of a template's text looks like one."""
_TYPES: Final = {".js": "text/javascript", ".webmanifest": "application/manifest+json"}
_TEXT: Final = frozenset({"text/javascript", "text/css"})
_FOREVER: Final = "public, max-age=31536000, immutable"
_LEAST_TO_COMPRESS: Final = 256

PERMISSIONS: Final = "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()"


def policy(import_map: str) -> str:
    """The Content-Security-Policy (CSP level 3, Trusted Types) of the shell.

    No string can become HTML or script: there is no Trusted Types policy at all. The one inline
    script is the import map, named by its digest.
    """
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "manifest-src 'self'",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes | None
    """The same with gzip; None where that saves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything the page is made of."""

    digest: str
    """Of all files; part of their address."""
    files: dict[str, StaticFile]
    shell: StaticFile
    policy: str


def load(folder: Path = FOLDER) -> Page:
    """Read and compress all files; some 20 ms."""
    sources = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _SERVED
    }
    sources["style.css"] = b"\n".join(sources.pop(f"style/{name}.css") for name in _STYLES)
    shell = (folder / "index.html").read_text()
    whole = hashlib.sha256(shell.encode())
    for name, body in sources.items():
        whole.update(f"\0{name}\0{len(body)}\0".encode())
        whole.update(body)
    digest = whole.hexdigest()[:16]
    base = f"/static/{digest}/"
    imports = json.dumps(
        {"imports": {name: base + file for name, file in _IMPORTS.items()}}, sort_keys=True
    )
    filled = (
        shell.replace("{{base}}", base)
        .replace("{{imports}}", imports)
        .replace("{{preloads}}", _preloads(sources, base))
    )
    return Page(
        digest=digest,
        files={name: _static(name, _lean(name, body)) for name, body in sources.items()},
        shell=_static("index.html", filled.encode()),
        policy=policy(imports),
    )


def _preloads(sources: dict[str, bytes], base: str) -> str:
    """Links to every module that the first view imports, so that they load side by side."""
    found: list[str] = []
    queue = ["app.js"]
    while queue:
        name = queue.pop(0)
        if name in found:
            continue
        found.append(name)
        queue += (
            _IMPORTS.get(wanted) or _beside(name, wanted)
            for wanted in _STATIC_IMPORT.findall(sources[name].decode())
        )
    return "\n".join(f'<link rel="modulepreload" href="{base}{name}">' for name in found[1:])


def _beside(name: str, wanted: str) -> str:
    """The file that a relative import names."""
    parts = name.split("/")[:-1]
    for part in wanted.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _lean(name: str, body: bytes) -> bytes:
    """Our own modules without their comments; each line keeps its number, for stack traces."""
    if name.startswith("vendor/") or not name.endswith(".js"):
        return body
    return _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), body.decode()).encode()


def _static(name: str, body: bytes) -> StaticFile:
    suffix = Path(name).suffix
    content_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
    compressed = gzip.compress(body, 9, mtime=0) if len(body) >= _LEAST_TO_COMPRESS else None
    if compressed is not None and len(compressed) >= len(body):
        compressed = None
    return StaticFile(content_type=content_type, body=body, compressed=compressed)


class PageRoutes:
    """Serves the page to everybody: it holds nothing of any team."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Nothing is read before somebody asks."""
        self._load = cache(load)
        self._folder = folder
        self._reading = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts; not described at ``/openapi.json``."""
        return [
            *(web.get(path, self.shell) for path in PATHS),
            web.get("/static/{digest}/{name:.+}", self.static),
        ]

    async def shell(self, request: web.Request) -> web.Response:
        """The HTML document; it is asked for anew each time, and mostly not sent again."""
        page = await self._page()
        etag = f'"{page.digest}"'
        headers = {
            "Cache-Control": "no-cache",
            "ETag": etag,
            "Content-Security-Policy": page.policy,
            "Permissions-Policy": PERMISSIONS,
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return _answer(request, page.shell, headers)

    async def static(self, request: web.Request) -> web.Response:
        """A file of this very version. Raises ``Problem`` 404 for any other."""
        page = await self._page()
        file = page.files.get(request.match_info["name"])
        if file is None or request.match_info["digest"] != page.digest:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", NOWHERE)
        return _answer(request, file, {"Cache-Control": _FOREVER})

    async def _page(self) -> Page:
        async with self._reading:
            return await asyncio.to_thread(self._load, self._folder)


def _answer(request: web.Request, file: StaticFile, headers: dict[str, str]) -> web.Response:
    text = file.content_type in _TEXT or file.content_type == "text/html"
    sent = {**headers, "Vary": "Accept-Encoding"}
    body = file.body
    if file.compressed is not None and _takes_gzip(request.headers.get("Accept-Encoding", "")):
        body = file.compressed
        sent["Content-Encoding"] = "gzip"
    return web.Response(
        body=body,
        content_type=file.content_type,
        charset="utf-8" if text else None,
        headers=sent,
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is named and not refused (RFC 9110, section 12.5.3)."""
    for part in accepted.split(","):
        name, _, quality = part.strip().casefold().partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
