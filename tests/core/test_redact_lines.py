"""Lines of configuration files and logs that were met with, hidden or left as they are."""

from __future__ import annotations

import pytest

from core.redact import redact


@pytest.mark.parametrize(
    "line",
    [
        "password=hunter2hunter2",
        'db_password: "hunter2hunter2"',
        "DB_PASSWORD = 'hunter2hunter2'",
        '{"api_key": "hunter2hunter2"}',
        "export AWS_SECRET_ACCESS_KEY=hunter2hunter2",
        "Authorization: Bearer hunter2hunter2",
        "postgres://app:hunter2hunter2@db/app",
        "token=hunter2hunter2&x=1",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2hunter2 cut off",
        "define( 'DB_PASSWORD', 'hunter2hunter2' );",
        "define('AUTH_KEY', 'a\"b hunter2; c');",
        "$config['password'] = 'hunter2hunter2';",
        "requirepass hunter2hunter2",
        "user default on >hunter2hunter2 ~* +@all",
        "DB_PASS=hunter2hunter2",
        "DBPASS=hunter2,hunter2",
        "SMTP_PWD=hunter2hunter2",
        "Server=db;Uid=app;Pwd=hunter2hunter2;Database=x",
        "pass: hunter2hunter2",
        "passphrase: hunter2hunter2",
        "bindpw hunter2hunter2",
        "  password hunter2hunter2",
        "<password>hunter2hunter2</password>",
        '<password type="plain">hunter2hunter2</password>',
        '<property name="password" value="hunter2hunter2"/>',
        "mysqld --password hunter2hunter2 --port 1",
        "restic --db-password=hunter2hunter2",
        "mysql -u root -phunter2hunter2 db",
        "sshpass -p hunter2hunter2 ssh web",
        "CREATE USER a IDENTIFIED BY 'it''s hunter2';",
        "ALTER ROLE a PASSWORD 'hunter2hunter2'",
        "curl -s -u admin:hunter2hunter2 https://x",
        "curl --user 'admin:hunter2hunter2' https://x",
        "postgres://u:pa/hunter2@host/db",
        "postgres://u:p@ss/hunter2@host/db",
        "machine api login a password hunter2hunter2",
        '{\\"password\\":\\"hunter2hunter2\\"}',
        "secret = 'hunter2hunter2 without an end",
    ],
)
def test_secrets_are_hidden(line: str) -> None:
    """The usual shapes of secrets do not reach a person or a model."""
    assert "hunter2" not in redact(line)


@pytest.mark.parametrize(
    "line", ["AKIAABCDEFGHIJKLMNOP", "ghp_" + "a" * 36, "sk-ant-" + "a" * 30, "xoxb-1234567890-abc"]
)
def test_known_key_shapes_are_hidden(line: str) -> None:
    """Keys that are recognised by their shape alone."""
    assert redact(f"got {line} here") == "got [hidden] here"


@pytest.mark.parametrize(
    "line",
    [
        "Failed password for root from 10.0.0.1",
        "tokens used today",
        "key=value",
        "80/tcp",
        "bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/bin/ls",
        "bypass: yes, compass=north, passed: 50",
        "GET http://host:8080/mail?to=a@b.example",
        "docker run -u 1000:1000 image",
        "PasswordAuthentication no",
        "$this->token->get()",
        "mysql -u root -p db",
        "pam_unix(sshd:auth): authentication failure",
    ],
)
def test_ordinary_lines_stay(line: str) -> None:
    """A log line that only talks about passwords is not mutilated."""
    assert redact(line) == line
