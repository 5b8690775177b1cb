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
