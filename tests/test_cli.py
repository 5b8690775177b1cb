from __future__ import annotations

from pathlib import Path

import pytest

from cli import as_invoked


def test_hints_show_the_command_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``it0`` on the PATH a hint can be typed as it stands; with it, it is short."""
    hint = "Run `it0 migrate` first.\n  Chat      it0 chat   in another terminal"
    monkeypatch.setenv("PATH", str(tmp_path))
    here = as_invoked(hint, ".venv/bin/it0")
    assert "`.venv/bin/it0 migrate`" in here
    assert "  .venv/bin/it0 chat " in here
    assert as_invoked(hint, "/somewhere/cli.py") == hint
    (tmp_path / "it0").write_text("#!/bin/sh\n")
    (tmp_path / "it0").chmod(0o755)
    assert as_invoked(hint, ".venv/bin/it0") == hint
