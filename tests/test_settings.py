from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import Settings, SettingsError
from variables import NAMES, VARIABLES

SECRET = "s3cr3t-" * 6
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def _read(dotenv: Path | None = None, **environ: str) -> Settings:
    return Settings.from_environment(environ, dotenv)


def _problems(dotenv: Path | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        _read(dotenv, **environ)
    return caught.value.problems


def test_an_empty_environment_is_a_working_installation() -> None:
    """Nothing is required: SQLite under ./data, loopback, the offline engine, no warning."""
    settings = _read()
    assert settings.data_dir == Path("data").absolute()
    assert settings.database_url is None
    assert settings.database_path == settings.data_dir / "it0.db"
    assert settings.http.url() == "http://127.0.0.1:8080"
    assert settings.default_engine == "runbook"
    assert settings.model == "claude-sonnet-5-5"
    assert settings.admin_email == "admin@localhost"
    assert settings.log_format == "auto"
    assert settings.tuning.turn_slots == 256
    assert settings.tuning.max_output_tokens == 8192
    assert settings.warnings == ()
    assert not any(line.configured for line in settings.describe())


def test_every_value_reaches_its_place(tmp_path: Path) -> None:
    """Each variable changes exactly the setting it names."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(PEM)
    settings = _read(
        IT0_DATA_DIR=str(tmp_path),
        IT0_DATABASE_URL="postgresql://u:p@db:5433/it0",
        IT0_REDIS_URL="redis://:pw@cache:6379/0",
        IT0_HTTP_HOST="0.0.0.0",
        IT0_HTTP_PORT="9000",
        IT0_PUBLIC_URL="https://it0.example.com/",
        IT0_SECRET_KEY=SECRET,
        IT0_ENGINE="runbook",
        IT0_MODEL="claude-opus-5",
        IT0_LOG_FORMAT="json",
        ANTHROPIC_API_KEY="sk-ant-1",
        ANTHROPIC_BASE_URL="https://gateway.example.com",
        IT0_ANTHROPIC_CA_FILE=str(ca_file),
        CLAUDE_CODE_OAUTH_TOKEN="sk-ant-oat-1",
        IT0_AGENT_DIR=str(tmp_path / "processes"),
        IT0_AGENT_UID="70000",
        IT0_AGENT_PROCESSES="3",
        IT0_AGENT_IDLE_S="60",
        SLACK_BOT_TOKEN="xoxb-1",
        SLACK_APP_TOKEN="xapp-1",
        SLACK_SIGNING_SECRET="signing",
        SLACK_CLIENT_ID="1.2",
        SLACK_CLIENT_SECRET="client",
        IT0_SLACK_API_URL="http://127.0.0.1:1/api/",
        TELEGRAM_BOT_TOKEN="123:ABC_d-e",
        TELEGRAM_WEBHOOK_SECRET="hook_1-2",
        IT0_TELEGRAM_API_URL="http://127.0.0.1:2",
        IT0_TELEGRAM_FILE_URL="http://127.0.0.1:3/files",
        SSH_AUTH_SOCK="/run/agent",
        IT0_BILLING="off",
        IT0_CURRENCY="CNY",
        IT0_SELLER_NAME="Ops Ltd",
        IT0_SELLER_ADDRESS=r"1 Main St\nSpringfield",
        IT0_SELLER_TAX_NUMBER="X1",
        IT0_SELLER_EMAIL="bills@example.com",
        IT0_PAYMENT_INSTRUCTIONS=r"IBAN 1\nBIC 2",
        IT0_ADMIN_EMAIL="me@example.com",
        IT0_TURN_SLOTS="8",
        IT0_SHUTDOWN_GRACE_S="1.5",
        IT0_MODEL_TIMEOUT_S="30",
        IT0_MAX_OUTPUT_TOKENS="1000",
    )
    assert settings.data_dir == tmp_path
    assert settings.ssh_agent == "/run/agent"
    assert settings.database_url == "postgresql+asyncpg://u:p@db:5433/it0"
    assert settings.database_path is None
    assert settings.redis_url == "redis://:pw@cache:6379/0"
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 9000)
    assert settings.http.url() == "https://it0.example.com"
    assert settings.secret_key == SECRET
    assert settings.default_engine == "runbook"
    assert settings.model == "claude-opus-5"
    assert settings.log_format == "json"
    assert settings.anthropic.api_key == "sk-ant-1"
    assert settings.anthropic.base_url == "https://gateway.example.com"
    assert settings.anthropic.ca_file == ca_file
    agents = settings.agents
    assert agents.directory == tmp_path / "processes"
    assert agents.uid == (70000 if os.geteuid() == 0 else None)
    assert (agents.processes, agents.idle_s, agents.login) == (3, 60, "sk-ant-oat-1")
    slack = settings.slack
    assert (slack.bot_token, slack.app_token, slack.signing_secret) == (
        "xoxb-1",
        "xapp-1",
        "signing",
    )
    assert (slack.client_id, slack.client_secret) == ("1.2", "client")
    assert slack.api_url == "http://127.0.0.1:1/api"
    assert slack.configured
    telegram = settings.telegram
    assert (telegram.token, telegram.webhook_secret) == ("123:ABC_d-e", "hook_1-2")
    assert telegram.api_url == "http://127.0.0.1:2"
    assert telegram.file_url == "http://127.0.0.1:3/files"
    billing = settings.billing
    assert not billing.enabled
    assert (billing.currency, billing.seller_name) == ("CNY", "Ops Ltd")
    assert (billing.seller_address, billing.seller_tax_number) == ("1 Main St\nSpringfield", "X1")
    assert (billing.seller_email, billing.instructions) == ("bills@example.com", "IBAN 1\nBIC 2")
    assert settings.admin_email == "me@example.com"
    assert settings.tuning.turn_slots == 8
    assert settings.tuning.shutdown_grace_s == 1.5
    assert settings.tuning.model_timeout_s == 30
    assert settings.tuning.max_output_tokens == 1000
    assert all(line.configured for line in settings.describe())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "Slack is configured by half"),
        ({"SLACK_SIGNING_SECRET": "s"}, "Slack is configured by half"),
        ({"SLACK_CLIENT_ID": "1.2", "SLACK_APP_TOKEN": "xapp-1"}, "needed together"),
        ({"SLACK_BOT_TOKEN": "xapp-1", "SLACK_APP_TOKEN": "xapp-1"}, "begins with xoxb-"),
        ({"TELEGRAM_BOT_TOKEN": "ABC"}, "@BotFather"),
        ({"TELEGRAM_WEBHOOK_SECRET": "no spaces"}, "setWebhook"),
    ],
)
def test_a_platform_that_is_configured_by_half_is_refused(
    values: dict[str, str], named: str
) -> None:
    """What cannot work is said at the start, without the secrets."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(values, None)
    assert named in refused.value.sentence
    assert "ABC " not in refused.value.sentence


def test_an_api_key_makes_the_model_the_default_engine() -> None:
    """With credentials and no choice the model answers."""
    assert _read(ANTHROPIC_API_KEY="sk-ant-1").default_engine == "claude_api"


def test_the_environment_wins_over_the_file_and_empty_is_unset(tmp_path: Path) -> None:
    """An empty variable does not hide the file's value; a set one does."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "\ufeff# comment\nexport IT0_MODEL='from-file'\nIT0_HTTP_PORT=1234\n\nIT0_ENGINE=\n"
    )
    settings = _read(dotenv, IT0_MODEL=" ", IT0_HTTP_PORT="4321")
    assert settings.model == "from-file"
    assert settings.http.port == 4321
    assert settings.engine is None


def test_a_missing_file_is_no_problem(tmp_path: Path) -> None:
    """Most installations have no .env."""
    assert _read(tmp_path / ".env").model == "claude-sonnet-5-5"


def test_all_problems_are_reported_at_once() -> None:
    """One start shows every mistake, each with its name, its value and what is accepted."""
    found = _problems(
        IT0_HTTP_PORT="80a0", IT0_LOG_FORMAT="xml", IT0_TURN_SLOTS="1001", IT0_ENGINE="gpt"
    )
    assert sorted(found) == [
        (
            "IT0_ENGINE is 'gpt', which cannot be used. Accepted: claude_api, claude_agent_sdk,"
            " claude_code_cli or runbook."
        ),
        "IT0_HTTP_PORT is '80a0', which cannot be used. Accepted: a whole number from 0 to 65535.",
        "IT0_LOG_FORMAT is 'xml', which cannot be used. Accepted: auto, console or json.",
        "IT0_TURN_SLOTS is '1001', which cannot be used. Accepted: a whole number from 1 to 1000.",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IT0_HTTP_PORT", "65536"),
        ("IT0_HTTP_PORT", "-1"),
        ("IT0_HTTP_PORT", "٣"),
        ("IT0_HTTP_HOST", "http://x"),
        ("IT0_HTTP_HOST", "256.1.1.1"),
        ("IT0_PUBLIC_URL", "it0.example.com"),
        ("IT0_PUBLIC_URL", "ftp://it0.example.com"),
        ("IT0_PUBLIC_URL", "https://it0.example.com/?a=b"),
        ("IT0_PUBLIC_URL", "https://it0.example.com:99999"),
        ("IT0_PUBLIC_URL", "https://[::1"),
        ("IT0_REDIS_URL", "localhost:6379"),
        ("IT0_DATABASE_URL", "mysql://db/it0"),
        ("IT0_DATABASE_URL", "postgresql://u@db"),
        ("IT0_DATABASE_URL", "postgresql:///it0"),
        ("IT0_DATABASE_URL", "postgresql+psycopg://db/it0"),
        ("IT0_DATABASE_URL", "sqlite://"),
        ("IT0_DATABASE_URL", "sqlite:///:memory:"),
        ("IT0_DATABASE_URL", "it0.db"),
        ("IT0_MODEL", "two words"),
        ("IT0_ADMIN_EMAIL", "nobody"),
        ("IT0_ADMIN_EMAIL", "a@b@c"),
        ("IT0_SHUTDOWN_GRACE_S", "soon"),
        ("IT0_SHUTDOWN_GRACE_S", "nan"),
        ("IT0_MODEL_TIMEOUT_S", "0"),
        ("IT0_MODEL_TIMEOUT_S", "1e3"),
        ("IT0_MAX_OUTPUT_TOKENS", "0"),
        ("IT0_SECRET_KEY", "short"),
        ("ANTHROPIC_API_KEY", "sk ant"),
        ("ANTHROPIC_API_KEY", "sk\nant"),
        ("ANTHROPIC_API_KEY", "sk-é"),
        ("IT0_MODEL", "a\x00b"),
        ("IT0_MODEL", "\udcff"),
        ("IT0_ANTHROPIC_CA_FILE", "/does/not/exist.pem"),
        ("IT0_ANTHROPIC_CA_FILE", "/"),
        ("IT0_DATA_DIR", "/dev/null"),
        ("IT0_DATA_DIR", "x" * 5000),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_variable(name: str, value: str) -> None:
    """Whatever is wrong, the operator reads which variable it is and nothing else breaks."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"IT0_SECRET_KEY": SECRET, name: value})
    found = caught.value.problems
    assert len(found) == 1
    assert found[0].startswith(name)
    assert len(found[0]) < 400


def test_the_ca_file_must_hold_a_certificate(tmp_path: Path) -> None:
    """A key or an empty file in its place is found at the start, not at the first message."""
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----")
    (sentence,) = _problems(IT0_ANTHROPIC_CA_FILE=str(path))
    assert "certificate" in sentence


def test_postgresql_needs_a_secret_key() -> None:
    """Processes on several machines cannot each make their own."""
    (sentence,) = _problems(IT0_DATABASE_URL="postgresql://u:hunter22@db/it0")
    assert sentence.startswith("IT0_SECRET_KEY is not set.")
    assert "hunter22" not in sentence


def test_the_model_engine_needs_a_key() -> None:
    """An engine that cannot answer is refused at the start, with the way out."""
    (sentence,) = _problems(IT0_ENGINE="claude_api")
    assert "ANTHROPIC_API_KEY" in sentence


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("postgres://u:p@db/it0", "postgresql+asyncpg://u:p@db/it0"),
        ("postgresql+asyncpg://u@db:1/it0", "postgresql+asyncpg://u@db:1/it0"),
        ("postgresql://u:p%40x@[::1]:5/it0", "postgresql+asyncpg://u:p%40x@[::1]:5/it0"),
        ("postgresql://db/it0?sslmode=require", "postgresql+asyncpg://db/it0?ssl=require"),
        ("postgresql:///it0?host=/run/pg", "postgresql+asyncpg:///it0?host=/run/pg"),
        ("sqlite:////srv/it0.db", "sqlite:////srv/it0.db"),
    ],
)
def test_database_urls_are_normalised(url: str, normal: str) -> None:
    """The forms that hosting services hand out become the one that SQLAlchemy understands."""
    assert _read(IT0_DATABASE_URL=url, IT0_SECRET_KEY=SECRET).database_url == normal


def test_a_relative_sqlite_path_becomes_absolute() -> None:
    """A later change of directory does not change the database."""
    path = _read(IT0_DATABASE_URL="sqlite:///x/it0.db").database_path
    assert path == Path("x/it0.db").absolute()


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80"), ("[::1]", "http://[::1]:80")],
)
def test_the_address_that_is_printed_can_be_opened(host: str, url: str) -> None:
    """A wildcard address is shown as loopback, IPv6 in brackets, with the port really bound."""
    assert _read(IT0_HTTP_HOST=host, IT0_HTTP_PORT="0").http.url(80) == url


def test_a_misspelled_name_is_reported_with_the_nearest_one() -> None:
    """A typo in a name is not silently the default."""
    settings = _read(IT0_HTTP_PROT="1", IT0_XYZ="1", OTHER="1")
    assert settings.warnings == (
        "IT0_HTTP_PROT is set, but IT0 knows no such setting. Did you mean IT0_HTTP_PORT?",
        "IT0_XYZ is set, but IT0 knows no such setting.",
    )


@pytest.mark.parametrize(
    ("url", "count"), [("http://gw.example.com", 1), ("http://127.0.0.1:9", 0), ("https://gw", 0)]
)
def test_a_key_that_would_travel_unencrypted_is_a_warning(url: str, count: int) -> None:
    """Plain HTTP is fine on loopback only."""
    assert len(_read(ANTHROPIC_BASE_URL=url).warnings) == count


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"IT0_MODEL=a\nthis is no setting\n", "line 2"),
        (b"IT0_MODEL='never closed\n", "line 1"),
        (b"\xff\xfeI\x00", "UTF-8"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: bytes, expected: str) -> None:
    """The file and the line are named; the line itself, which may hold a secret, is not shown."""
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(content)
    (sentence,) = _problems(dotenv)
    assert str(dotenv) in sentence
    assert expected in sentence
    assert "never closed" not in sentence


def test_a_directory_in_place_of_the_file_is_one_sentence(tmp_path: Path) -> None:
    """What cannot be read is said, not raised as it comes."""
    (sentence,) = _problems(tmp_path)
    assert sentence.startswith(f"{tmp_path} cannot be read")


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    """Neither problems nor descriptions nor the representation repeat a secret's value."""
    bad = _problems(
        IT0_DATABASE_URL="mysql://u:CANARY@db",
        IT0_REDIS_URL="CANARY",
        IT0_SECRET_KEY="CANARY",
        ANTHROPIC_API_KEY="CANARY CANARY",
        ANTHROPIC_BASE_URL="https://u:CANARY@gw",
    )
    assert len(bad) == 5
    assert "CANARY" not in str(SettingsError(bad))
    good = _read(
        IT0_DATABASE_URL="postgresql://u:CANARY@db/it0",
        IT0_REDIS_URL="redis://:CANARY@cache",
        IT0_SECRET_KEY="CANARY" * 6,
        ANTHROPIC_API_KEY="CANARY",
    )
    assert "CANARY" not in repr(good)
    assert "CANARY" not in repr(good.describe())
    assert {line.value for line in good.describe() if line.configured} == {"(hidden)"}


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), st.text(max_size=40), max_size=6))
def test_any_text_is_settings_or_a_settings_error(environ: dict[str, str]) -> None:
    """No value, however odd, raises anything but the one error with sentences."""
    sentences: tuple[str, ...] = ("none",)
    try:
        Settings.from_environment(environ)
    except SettingsError as error:
        sentences = error.problems
    assert sentences
    assert all(sentence.isprintable() for sentence in sentences)


def test_every_variable_says_what_it_is_for() -> None:
    """The list that `it0 check` prints has no gaps and no doubles."""
    assert len(NAMES) == len(VARIABLES)
    assert all(len(variable.purpose) > 10 for variable in VARIABLES)


def test_a_dotenv_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that somebody else may have left in the directory chooses nothing."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("ANTHROPIC_BASE_URL=https://evil.example.com\n")
    if os.geteuid() == 0:
        os.chown(dotenv, 65534, 65534)
    else:
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    (sentence,) = _problems(dotenv)
    assert "another user" in sentence
    assert str(dotenv) in sentence


def test_a_dotenv_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """The sentence says which command closes it; then it is read."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("IT0_HTTP_PORT=4321\n")
    dotenv.chmod(0o666)
    (sentence,) = _problems(dotenv)
    assert f"chmod go-w {dotenv}" in sentence
    dotenv.chmod(0o644)
    assert _read(dotenv).http.port == 4321


def test_a_dotenv_that_is_a_pipe_does_not_hang(tmp_path: Path) -> None:
    """Only a regular file is read."""
    dotenv = tmp_path / ".env"
    os.mkfifo(dotenv, 0o600)
    (sentence,) = _problems(dotenv)
    assert "regular file" in sentence


def test_misspelled_names_are_named_beside_wrong_values() -> None:
    """Somebody who corrects the file sees everything at once."""
    with pytest.raises(SettingsError) as caught:
        _read(IT0_HTTP_PORT="eighty", IT0_ENGIN="runbook")
    assert len(caught.value.problems) == 1
    assert "IT0_ENGINE" in caught.value.warnings[0]
