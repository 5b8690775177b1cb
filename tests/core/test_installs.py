from __future__ import annotations

import pytest

from core.sealing import CannotUnseal
from storage.installs import SqlInstalls
from tests.support.core_kit import Site

KEY = b"k" * 32


async def test_a_workspaces_token_is_stored_sealed(site: Site) -> None:
    """It comes back for its workspace alone, and no table shows it."""
    async with site.open() as house:
        installs = SqlInstalls(house.core.storage.db, KEY)
        await installs.save("slack", "T1", "xoxb-secret-1")
        await installs.save("slack", "T1", "xoxb-secret-2")
        assert await installs.find("slack", "T1") == "xoxb-secret-2"
        assert await installs.find("slack", "T2") is None
        assert "xoxb" not in await house.dump()


async def test_a_removed_app_leaves_no_token(site: Site) -> None:
    """After the revocation there is none, until the app is installed again."""
    async with site.open() as house:
        installs = SqlInstalls(house.core.storage.db, KEY)
        await installs.save("slack", "T1", "xoxb-secret")
        await installs.revoke("slack", "T1")
        assert await installs.find("slack", "T1") is None
        await installs.save("slack", "T1", "xoxb-new")
        assert await installs.find("slack", "T1") == "xoxb-new"


async def test_a_token_that_was_moved_is_refused(site: Site) -> None:
    """Whoever can write the table cannot make one workspace answer with another's token."""
    async with site.open() as house:
        installs = SqlInstalls(house.core.storage.db, KEY)
        await installs.save("slack", "T1", "xoxb-1")
        await installs.save("slack", "T2", "xoxb-2")
        await house.write(
            "UPDATE installs SET sealed = (SELECT sealed FROM installs i WHERE i.workspace = 'T1')"
            " WHERE workspace = 'T2'"
        )
        with pytest.raises(CannotUnseal):
            await installs.find("slack", "T2")
