"""Real OpenSSH servers for the tests of the fleet."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from core.fleet.ssh import SshConnector
from tests.support.sshd import SshdKit, account, find_sshd


@pytest.fixture(scope="module")
def kit() -> Iterator[SshdKit]:
    """A kit whose servers end with the module."""
    if find_sshd() is None:
        pytest.skip("there is no OpenSSH server (apt install openssh-server)")
    with SshdKit() as made:
        yield made


@pytest.fixture
async def fleet(kit: SshdKit) -> AsyncIterator[SshConnector]:
    """A connector for the servers of the kit."""
    async with kit.connector() as connector:
        yield connector


def _root_or_skip() -> None:
    if os.geteuid() != 0:
        reason = "only root can make accounts and log in as them"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def plain_user() -> Iterator[str]:
    """An account without rights."""
    _root_or_skip()
    with account(f"it0plain{os.getpid()}", sudo=False) as name:
        yield name


@pytest.fixture(scope="module")
def sudo_user() -> Iterator[str]:
    """An account that may do everything through sudo, without a password."""
    _root_or_skip()
    with account(f"it0sudo{os.getpid()}", sudo=True) as name:
        yield name
