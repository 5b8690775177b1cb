"""One role a process, on PostgreSQL, as the Procfile runs them."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.test_up import IT0, ROOT, it0, post
from tests.support.processes import Process, free_port


@pytest.mark.slow
@pytest.mark.postgres
def test_the_roles_work_together(data_dir: Path, postgres_url: str) -> None:
    """``migrate`` first; ``serve`` answers, also while ``worker`` shares the turns; both stop."""
    environ = {
        "IT0_DATABASE_URL": postgres_url.replace("+asyncpg", ""),
        "IT0_SECRET_KEY": "k" * 64,
        "IT0_HTTP_PORT": str(free_port()),
    }
    data_dir.mkdir(mode=0o700)
    status, _, errors = it0(data_dir, "serve", **environ)
    assert status == 1
    assert "it0 migrate" in errors or "cli.py migrate" in errors
    assert it0(data_dir, "migrate", **environ)[0] == 0
    env = {**environ, "IT0_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT)}
    with (
        Process([*IT0, "serve"], env=env, cwd=data_dir) as serve,
        Process([sys.executable, "-m", "cli", "worker"], env=env, cwd=data_dir) as worker,
    ):
        url = serve.wait_for(r"API\s+(http://\S+)/api/v1").group(1)
        worker.wait_for("is ready")
        with urllib.request.urlopen(f"{url}/readyz") as ready:
            assert ready.status == 200
        status, token, errors = it0(data_dir, "token", **environ)
        assert (status, errors) == (0, "")
        events = list(post(url, token.strip(), {"text": "how full are the disks?"}))
        final = json.loads(events[-1][2])
        assert final["outcome"] == "answered"
        status, out, _ = it0(data_dir, "chat", "--once", "load?", **environ)
        assert (status, "load" in out) == (0, True)
        for process in (serve, worker):
            process.terminate()
            assert process.wait() == 0
            assert "Traceback" not in process.output()
