"""The cookie's name and attributes, and the judgement of whose request it speaks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.web.cookies import (
    browser_name,
    cookie_name,
    from_own_page,
    own_origin,
    parse_origin,
    read_cookie,
    remove_cookie,
    set_cookie,
)
from core.rotation import new_secret
from core.sign_in import Cookie

OWN = frozenset({"http://it0.example:8000", "https://it0.example"})
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
SITES = st.sampled_from(["same-origin", "same-site", "cross-site", "none", "", "Same-Origin", "x"])
ORIGINS = st.sampled_from(
    [
        "http://it0.example:8000",
        "https://it0.example",
        "https://it0.example:443",
        "HTTPS://IT0.example",
        "http://it0.example",
        "http://it0.example:8001",
        "https://it0.example.evil.test",
        "https://evil.test",
        "null",
        "",
        "file://",
        "http://it0.example:8000@evil.test",
        "http://it0.example:99999",
        "http://[",
    ]
)
GOOD = {
    "http://it0.example:8000",
    "https://it0.example",
    "https://it0.example:443",
    "HTTPS://IT0.example",
}


def test_the_header_of_a_session() -> None:
    """Not for scripts, not for other sites, for the whole host; ``__Host-`` needs ``Secure``."""
    cookie = Cookie(series="s" * 43, token="t" * 43)
    plain = set_cookie(cookie, "it0", secure=False, life_s=60)
    assert plain == f"it0={'s' * 43}.{'t' * 43}; Max-Age=60; Path=/; HttpOnly; SameSite=Strict"
    safe = set_cookie(cookie, "__Host-it0", secure=True, life_s=60)
    assert safe == f"__Host-{plain}; Secure"
    assert "Domain" not in safe
    gone = "__Host-it0=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict; Secure"
    assert remove_cookie("__Host-it0", secure=True) == gone
    assert "Max-Age=0;" in set_cookie(cookie, "x", secure=True, life_s=-5)


@given(st.booleans(), st.integers(min_value=0, max_value=3))
def test_what_was_set_is_read(secure: bool, beside: int) -> None:
    """Among other cookies, in one header or several, and only under the name that counts here."""
    cookie = Cookie(series=new_secret(), token=new_secret())
    name = cookie_name("it0.example:8000", secure=secure)
    pair = set_cookie(cookie, name, secure=secure, life_s=1).partition(";")[0]
    others = [f"other{n}=it0" for n in range(beside)]
    assert read_cookie(["; ".join([*others, pair])], name) == cookie
    assert read_cookie([*others, pair], name) == cookie
    assert read_cookie([pair], cookie_name("it0.example:8000", secure=not secure)) is None


@given(st.text(max_size=200))
def test_whatever_stands_in_a_cookie_is_no_fault(value: str) -> None:
    """Only two halves of 43 characters are a cookie; all else is none."""
    found = read_cookie([f"it0={value}"], "it0")
    assert found is None or value.strip() == f"{found.series}.{found.token}"


def test_two_cookies_of_that_name_are_none() -> None:
    """Another host of the domain may have put one beside ours; twice the same is no harm."""
    one, two = (f"it0={new_secret()}.{new_secret()}" for _ in range(2))
    assert read_cookie([f"{one}; {two}"], "it0") is None
    assert read_cookie([one, two], "it0") is None
    assert read_cookie([f"{one}; {one}"], "it0") is not None


@given(METHODS, st.lists(SITES, max_size=3), st.lists(ORIGINS, max_size=3))
def test_only_our_own_page_changes_anything(
    method: str, sites: list[str], origins: list[str]
) -> None:
    """The browser's word counts first, and no doubt about it; ``Origin`` where it has none."""
    judged = from_own_page(method, sites, origins, OWN)
    if any(site != "same-origin" for site in sites) and set(sites) != {"none"}:
        assert not judged
    if judged and method not in {"GET", "HEAD"}:
        assert set(sites) == {"same-origin"} or (not sites and origins and set(origins) <= GOOD)
    if set(sites) == {"same-origin"} or (not sites and origins and set(origins) <= GOOD):
        assert judged
    if set(sites) == {"none"}:
        assert judged is (method in {"GET", "HEAD"})


@pytest.mark.parametrize(
    ("scheme", "host", "origin"),
    [
        ("http", "IT0.example", "http://it0.example"),
        ("http", "it0.example:80", "http://it0.example"),
        ("https", "it0.example:443", "https://it0.example"),
        ("http", "it0.example:443", "http://it0.example:443"),
        ("http", "[::1]:8000", "http://[::1]:8000"),
        ("http", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http", "", None),
        ("http", "a@b", None),
        ("http", "a/b", None),
        ("http", "a?b", None),
        ("http", "a:b", None),
        ("http", "[", None),
    ],
)
def test_origins_have_one_form(scheme: str, host: str, origin: str | None) -> None:
    """In small letters and without a default port; what is no host is no origin."""
    assert own_origin(scheme, host) == origin


def test_only_web_origins_are_origins() -> None:
    """``null`` (a sandbox), files and extensions are nobody's page."""
    for text in ("null", "", "file:///x", "chrome-extension://abc", "ftp://it0.example"):
        assert parse_origin(text) is None
    assert parse_origin("https://it0.example/path/") == "https://it0.example"


@given(st.text(max_size=300))
def test_a_browser_is_named_by_our_own_words(agent: str) -> None:
    """Whatever a browser says of itself, only known names are shown."""
    known = {"", "on", "Edge", "Opera", "Samsung", "Internet", "Firefox", "Chrome", "Safari"}
    known |= {"iPhone", "iPad", "Android", "Windows", "macOS", "ChromeOS", "Linux"}
    assert set(browser_name(agent).split()) <= known


_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/2010 Firefox/140.0", "Firefox on Linux"),
        (f"(Windows NT 10.0) {_WEBKIT} Chrome/138.0.0.0 Safari/537.36 Edg/1", "Edge on Windows"),
        ("(iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18 Safari/604.1", "Safari on iPhone"),
        (f"(Linux; Android 10; K) {_WEBKIT} Chrome/138.0 Mobile Safari/537", "Chrome on Android"),
        ("curl/8.5.0", ""),
    ],
)
def test_known_browsers(agent: str, name: str) -> None:
    """As their owners know them."""
    assert browser_name(agent) == name


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("it0.example", "it0"),
        ("127.0.0.1:8080", "it0-8080"),
        ("[::1]:8081", "it0-8081"),
        ("[::1]", "it0"),
        ("evil:99;x=1", "it0"),
    ],
)
def test_the_name_follows_the_connection(host: str, plain: str) -> None:
    """``__Host-`` where it is safe; the port, as cookies know none."""
    assert cookie_name(host, secure=False) == plain
    assert cookie_name(host, secure=True) == f"__Host-{plain}"
