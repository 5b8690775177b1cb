from __future__ import annotations

import json
import logging

import pytest
import structlog

from core.logs import configure_logs


def test_lines_of_libraries_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line parses, with its logger, its level and a traceback in one line."""
    configure_logs(json=True)
    configure_logs(json=True)
    try:
        int("broken")
    except ValueError:
        logging.getLogger("some.library").exception("it failed: %s", "x\ny")
    structlog.get_logger().warning("ours")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["it failed: x\ny", "ours"]
    assert lines[0]["logger"] == "some.library"
    assert lines[0]["level"] == "error"
    assert "ValueError: invalid" in lines[0]["exception"]


def test_the_web_server_repeats_no_request(capsys: pytest.CaptureFixture[str]) -> None:
    """A request that cannot be parsed may hold a token: its bytes are not logged."""
    configure_logs(json=False)
    logging.getLogger("aiohttp.server").error("bad request: %r", b"Authorization: Bearer x")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_is_logged(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """Not in a value, however deep, nor in an exception, nor in a line of a library."""
    configure_logs(json=as_json)
    url = "postgres://app:hunter2hunter2@db/shop"
    try:
        _connect(url)
    except RuntimeError:
        structlog.get_logger().exception("ours", password="hunter2hunter2", more={"a": [url]})
        logging.getLogger("some.library").exception("failed: %s", url)
    structlog.get_logger().warning("odd", thing=_Odd(), bits=b"token=hunter2hunter2", count=3)
    shown = capsys.readouterr().err
    assert "hunter2" not in shown
    assert shown.count("[hidden]") >= 7
    assert "RuntimeError" in shown


def test_what_is_no_secret_is_logged_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers stay numbers, ids stay ids, and a message keeps its lines."""
    configure_logs(json=True)
    structlog.get_logger().warning("turn.finished", turn_id="trn_0a1b", ms=12, ok=True, said="a\nb")
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert [line[name] for name in ("event", "turn_id", "ms", "ok", "said")] == [
        "turn.finished",
        "trn_0a1b",
        12,
        True,
        "a\nb",
    ]


def _connect(url: str) -> None:
    raise RuntimeError(f"cannot connect to {url}")


class _Odd:
    def __repr__(self) -> str:
        return "Odd(api_key=hunter2hunter2)"
