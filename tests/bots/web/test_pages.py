"""The browser page: its files, its policy, and what its modules may hold."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from bots.web.pages import FOLDER, PATHS, PageRoutes, load, policy
from bots.web.server import build

Client = TestClient[Request, Application]
MODULES = sorted(
    path for path in FOLDER.rglob("*.js") if "vendor" not in path.relative_to(FOLDER).parts
)
FIRST_WORDS = ("chat", "markdown", "shell")
CALL = re.compile(r"""\bt\(\s*"((?:[^"\\]|\\.)*)\"""")
CALL_N = re.compile(r"""\btn\(\s*"(?:[^"\\]|\\.)*",\s*"((?:[^"\\]|\\.)*)\"""")
WORD = re.compile(r'^  "((?:[^"\\]|\\.)*)":\s*\n?\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
PLACEHOLDER = re.compile(r"\{\w+\}")


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    """A server with the page alone."""
    application = build([], hooks=PageRoutes().routes(), version="0")
    async with TestClient(TestServer(application), auto_decompress=False) as made:
        yield made


async def test_every_path_answers_with_the_same_shell(client: Client) -> None:
    """Whoever reloads any view gets the page again."""
    bodies = set()
    for path in PATHS:
        answer = await client.get(path.replace("{conversation}", "conv_1"))
        assert answer.status == 200
        assert answer.content_type == "text/html"
        bodies.add(await answer.read())
    assert len(bodies) == 1


async def test_the_policy_allows_nothing_foreign_and_no_markup_from_strings(
    client: Client,
) -> None:
    """Scripts come from here; a string never becomes HTML or script."""
    answer = await client.get("/", headers={"Accept-Encoding": "identity"})
    parts = (part.partition(" ") for part in answer.headers["Content-Security-Policy"].split("; "))
    said = {name: value for name, _, value in parts}
    assert said["default-src"] == "'none'"
    assert said["frame-ancestors"] == said["base-uri"] == said["trusted-types"] == "'none'"
    assert said["require-trusted-types-for"] == "'script'"
    for value in said.values():
        assert "unsafe" not in value
        assert "http" not in value
        assert "*" not in value
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_the_one_inline_script_is_the_import_map_of_the_policy(client: Client) -> None:
    """Its digest stands in the policy; there is no other inline script, and no inline style."""
    answer = await client.get("/", headers={"Accept-Encoding": "identity"})
    shell = (await answer.read()).decode()
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", shell, re.DOTALL)
    assert len(inline) == 1
    json.loads(inline[0])
    assert answer.headers["Content-Security-Policy"] == policy(inline[0])
    digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert "style=" not in shell
    assert "<style" not in shell
    assert re.search(r"\son\w+=", shell) is None


async def test_everything_the_shell_names_is_there_and_kept_for_ever(client: Client) -> None:
    """Stylesheets, preloads and modules answer; their address changes with their content."""
    shell = (await (await client.get("/", headers={"Accept-Encoding": "identity"})).read()).decode()
    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', shell)
    assert len(named) > 10
    for address in named:
        answer = await client.get(address)
        assert answer.status == 200, address
        assert "immutable" in answer.headers["Cache-Control"]
    old = re.sub(r"/static/\w+/", "/static/0123456789abcdef/", named[0])
    assert (await client.get(old)).status == 404
    assert (await client.get(named[0] + "/../../../../server.py")).status == 404


async def test_a_browser_that_has_the_shell_gets_none(client: Client) -> None:
    """The second visit costs a few bytes."""
    first = await client.get("/")
    again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert await again.read() == b""
    assert "Content-Security-Policy" in again.headers


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip, br", True), ("br;q=1, gzip;q=0.5", True), ("identity", False), ("gzip;q=0", False)],
)
async def test_text_is_compressed_for_who_takes_it(
    client: Client, accepted: str, compressed: bool
) -> None:
    """The body is compressed where gzip is named and not refused (RFC 9110, 12.5.3)."""
    answer = await client.get("/", headers={"Accept-Encoding": accepted})
    body = await answer.read()
    assert (answer.headers.get("Content-Encoding") == "gzip") is compressed
    assert b"<!doctype html>" in (gzip.decompress(body) if compressed else body)
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_foreign_code_is_what_its_package_published() -> None:
    """Each file under vendor/ has the digest, version and licence that the manifest says."""
    vendor = FOLDER / "vendor"
    manifest = json.loads((vendor / "manifest.json").read_text())
    there = {path.relative_to(vendor).as_posix() for path in vendor.rglob("*.js")}
    assert there == manifest.keys()
    for name, said in manifest.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == said["sha256"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"])
        assert (vendor / name).with_name("LICENSE").is_file()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_no_module_makes_markup_from_strings(module: Path) -> None:
    """HTML sinks, eval and foreign addresses stay out (the policy would stop them too)."""
    text = module.read_text()
    forbidden = (
        r"\.(?:inner|outer)HTML|insertAdjacentHTML|dangerouslySetInnerHTML|DOMParser|document\.write"
        r"|\beval\(|new Function|\bstyle=|srcdoc|(?:import|fetch)\(\s*[\"']https?:"
    )
    assert re.search(forbidden, text) is None
    assert len(text.splitlines()) <= 400


def messages(*modules: Path) -> set[str]:
    """The English texts that modules say."""
    found: set[str] = set()
    for module in modules:
        text = module.read_text()
        if module.name != "i18n.js":
            assert re.search(r"\btn?\((?![\s\"])", text) is None, f"{module.name}: not a literal"
        found |= {json.loads(f'"{said}"') for said in (*CALL.findall(text), *CALL_N.findall(text))}
    return found


def words(*parts: str) -> dict[str, str]:
    """The Chinese of these parts."""
    found: dict[str, str] = {}
    for part in parts:
        for english, chinese in WORD.findall((FOLDER / f"words/zh/{part}.js").read_text()):
            found[json.loads(f'"{english}"')] = json.loads(f'"{chinese}"')
    return found


def test_every_message_of_the_page_is_translated() -> None:
    """What `t` and `tn` say has its Chinese, with the same placeholders; and nothing is stale."""
    wanted = messages(*(module for module in MODULES if "words" not in module.parts))
    known = words(*FIRST_WORDS, "views")
    assert sorted(wanted - known.keys()) == []
    assert sorted(known.keys() - wanted) == []
    for english, chinese in known.items():
        assert sorted(set(PLACEHOLDER.findall(english)) - {"{n}"}) == sorted(
            set(PLACEHOLDER.findall(chinese)) - {"{n}"}
        )


def test_words_of_the_views_are_not_needed_before_them() -> None:
    """What is said outside the views has its Chinese among the words that are loaded at once."""
    outside = [m for m in MODULES if not {"words", "views"} & set(m.relative_to(FOLDER).parts)]
    assert sorted(messages(*outside) - words(*FIRST_WORDS).keys()) == []


def test_the_first_view_weighs_less_than_it_may() -> None:
    """All that a first visit loads, compressed, is under 100 KB; a browser measures it too."""
    page = load()
    shell = page.shell.body.decode()
    named = set(re.findall(rf'(?:href|src)="/static/{page.digest}/([^"]+)"', shell))
    named |= {"words/zh.js", *(f"words/zh/{part}.js" for part in FIRST_WORDS)}
    sent = [page.shell, *(page.files[name] for name in named)]
    heads = 350 * len(sent)
    assert heads + sum(len(file.compressed or file.body) for file in sent) < 100_000


def test_modules_are_sent_without_comments_and_with_their_lines() -> None:
    """What runs is what stands in the files, each line with its number; vendored files are whole."""
    files = load().files
    for module in MODULES:
        written = module.read_text().splitlines()
        sent = files[module.relative_to(FOLDER).as_posix()].body.decode().splitlines()
        pairs = list(zip(written, sent, strict=True))
        assert {now for was, now in pairs if now != was} <= {""}
        assert [now for _, now in pairs if now.lstrip().startswith(("//", "/*"))] == []
    for name in ("preact/preact.js", "markdown-it/markdown-it.js"):
        assert files[f"vendor/{name}"].body == (FOLDER / "vendor" / name).read_bytes()
