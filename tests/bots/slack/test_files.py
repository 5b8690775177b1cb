"""The bytes of files, and who may see the token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from bots.slack.files import SlackFiles
from bots.slack.render import blocks
from bots.slack.workspaces import Api, Workspaces
from core.intake import FetchFailed
from core.messages import RemoteFile
from tests.bots.slack.sink_kit import Memory
from tests.fakes.slack import File, SlackFake
from tests.fakes.slack_blocks import blocks_text

LIMIT = 1_000


@pytest.fixture
async def files(fake: SlackFake) -> AsyncIterator[SlackFiles]:
    """The adapter's files, with the token of a workspace."""
    token = fake.team("acme").install()
    async with aiohttp.ClientSession() as session:
        yield SlackFiles(Workspaces(Api(session, fake.api_url), Memory(), token))


def _upload(fake: SlackFake, data: bytes = b"a log") -> File:
    return fake.team("acme").user("ann").file("a.log", "text/plain", data)


def _remote(ref: str) -> RemoteFile:
    return RemoteFile(ref=ref, name="a.log", media_type="text/plain")


async def _problem(files: SlackFiles, workspace: str, ref: str) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        await files.fetch(workspace, _remote(ref), LIMIT)
    return caught.value


async def test_a_file_is_fetched_by_address_or_by_id(fake: SlackFake, files: SlackFiles) -> None:
    """Files of shared channels come as an id alone."""
    team, file = fake.team("acme").id, _upload(fake)
    for ref in (file.shape["url_private_download"], file.id):
        assert await files.fetch(team, _remote(ref), LIMIT) == b"a log"


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.example.com/d/1",
        "https://slack.com.example.com/x",
        "https://evilslack.com/x",
        "http://files.slack.com/x",
        "http://slack.com/x",
        "http://slack.com:443/x",
        "https://files.slack.com:8443/x",
        "https://files.slack.com:x/x",
        "ftp://files.slack.com/x",
        "https://files.slack.com@example.com/x",
    ],
)
async def test_the_token_goes_to_slack_alone(fake: SlackFake, files: SlackFiles, url: str) -> None:
    """A file that is kept elsewhere is refused before anything is sent."""
    problem = await _problem(files, fake.team("acme").id, url)
    assert problem.permanent
    assert "not stored in Slack" in problem.sentence


async def test_a_configured_server_gets_the_token_at_its_own_origin_only(
    fake: SlackFake, files: SlackFiles
) -> None:
    """Another scheme or port is another server."""
    own = urlsplit(fake.api_url)
    others = (f"https://{own.netloc}/x", f"http://{own.hostname}:1/x", f"http://{own.hostname}/x")
    for url in others:
        assert "not stored in Slack" in (await _problem(files, fake.team("acme").id, url)).sentence


async def test_slacks_own_hosts_get_no_token_in_the_clear(fake: SlackFake) -> None:
    """Without a configured server, too, where Slack's host is the one that is called."""
    token = fake.team("acme").install()
    async with aiohttp.ClientSession() as session:
        api = Api(session, None)
        workspaces = Workspaces(api, Memory(), None)
        await workspaces.save("T1", "U1", token)
        for url in ("http://slack.com/x", "http://files.slack.com/x", "https://slack.com:80/x"):
            problem = await _problem(SlackFiles(workspaces), "T1", url)
            assert "not stored in Slack" in problem.sentence


@pytest.mark.parametrize("ref", ["https://docs.example.com/d/1", "F0GONE"])
async def test_the_name_of_a_file_is_only_text(
    fake: SlackFake, files: SlackFiles, ref: str
) -> None:
    """Whatever somebody called it makes no link in our sentence."""
    name = "[Your session expired](https://evil.example)\n<!channel>"
    file = RemoteFile(ref=ref, name=name, media_type="text/plain")
    with pytest.raises(FetchFailed) as caught:
        await files.fetch(fake.team("acme").id, file, LIMIT)
    shown = blocks(caught.value.sentence)
    assert "[Your session expired](https://evil.example) <!channel>" in blocks_text(shown)
    assert "'link'" not in str(shown)


@pytest.mark.parametrize(("code", "permanent"), [("file_not_found", True), ("odd", False)])
async def test_only_a_file_that_is_gone_is_given_up(
    fake: SlackFake, files: SlackFiles, code: str, *, permanent: bool
) -> None:
    """Too fast, or for a reason that nobody documented: the core tries again."""
    team, file = fake.team("acme").id, _upload(fake)
    weather = fake.weather
    weather.methods, weather.errors = frozenset({"files.info"}), [code]
    assert (await _problem(files, team, file.id)).permanent == permanent
    weather.limited = 1
    assert not (await _problem(files, team, file.id)).permanent


async def test_a_missing_scope_is_not_mistaken_for_the_file(
    fake: SlackFake, files: SlackFiles
) -> None:
    """Slack answers with its login page and status 200 then."""
    team, file = fake.team("acme"), _upload(fake)
    team.scopes = team.scopes - {"files:read"}
    problem = await _problem(files, team.id, file.shape["url_private_download"])
    assert problem.permanent
    assert "files:read" in problem.sentence


async def test_more_than_the_limit_is_not_read(fake: SlackFake, files: SlackFiles) -> None:
    """Whatever size the event claimed."""
    file = _upload(fake, b"x" * (LIMIT + 1))
    problem = await _problem(files, fake.team("acme").id, file.shape["url_private_download"])
    assert problem.permanent
    assert "too large" in problem.sentence


async def test_a_deleted_file_and_an_unknown_workspace(fake: SlackFake, files: SlackFiles) -> None:
    """Asking again cannot help."""
    assert (await _problem(files, fake.team("acme").id, "F0GONE")).permanent
    assert (await _problem(files, "T0UNKNOWN", "F0GONE")).permanent


async def test_a_slack_that_is_down_is_asked_again(fake: SlackFake, files: SlackFiles) -> None:
    """The core tries again."""
    file = _upload(fake)
    assert await files.fetch(fake.team("acme").id, _remote(file.id), LIMIT)
    fake.weather.down = True
    assert not (await _problem(files, fake.team("acme").id, file.id)).permanent
