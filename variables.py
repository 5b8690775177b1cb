"""Every environment variable that IT0 reads, with its line for the operator."""

from __future__ import annotations

from environment import Variable

VARIABLES: tuple[Variable, ...] = (
    Variable(
        name="IT0_DATA_DIR",
        purpose="where the database, the keys and the backups live; ./data when unset",
    ),
    Variable(
        name="IT0_DATABASE_URL",
        purpose="postgresql://USER:PASSWORD@HOST/NAME; SQLite in the data directory when unset",
        secret=True,
    ),
    Variable(
        name="IT0_REDIS_URL",
        purpose="redis://HOST:6379/0, the event bus between processes; in process when unset",
        secret=True,
    ),
    Variable(name="IT0_HTTP_HOST", purpose="address to listen on; 127.0.0.1 when unset"),
    Variable(name="IT0_HTTP_PORT", purpose="port to listen on; 8080 when unset, 0 for any free"),
    Variable(
        name="IT0_PUBLIC_URL",
        purpose="how browsers reach IT0 behind a proxy; the listening address when unset",
    ),
    Variable(
        name="IT0_SECRET_KEY",
        purpose="key for stored secrets and tokens; made in the data directory on SQLite,"
        " required with PostgreSQL",
        secret=True,
    ),
    Variable(
        name="IT0_ENGINE",
        purpose="claude_api, claude_agent_sdk, claude_code_cli or runbook; when unset claude_api"
        " with an API key, claude_agent_sdk with a login, else runbook",
    ),
    Variable(name="IT0_MODEL", purpose="the model; claude-sonnet-5-5 when unset"),
    Variable(
        name="IT0_LOG_FORMAT",
        purpose="console, json or auto; auto (console on a terminal, else json) when unset",
    ),
    Variable(
        name="ANTHROPIC_API_KEY",
        purpose="the provider's API key; without it the offline engine (runbook) answers",
        secret=True,
    ),
    Variable(
        name="ANTHROPIC_BASE_URL",
        purpose="another address for the provider's API; the SDK's own when unset",
    ),
    Variable(
        name="IT0_ANTHROPIC_CA_FILE",
        purpose="PEM file of a private CA for that address; the system's CAs when unset",
    ),
    Variable(
        name="CLAUDE_CODE_OAUTH_TOKEN",
        purpose="the operator's own login (`claude setup-token`), for claude_agent_sdk and"
        " claude_code_cli when IT0 serves a single team",
        secret=True,
    ),
    Variable(
        name="IT0_AGENT_DIR",
        purpose="where the processes of those two engines live; agents/ in the data directory"
        " when unset, as root /var/lib/it0-agents",
    ),
    Variable(
        name="IT0_AGENT_UID",
        purpose="the user id that they run as when IT0 runs as root, 1 to 4294967294;"
        " default 64042",
    ),
    Variable(
        name="IT0_AGENT_PROCESSES",
        purpose="most of these processes at once, 1 to 200; each holds about 200 MB; default 8",
    ),
    Variable(
        name="IT0_AGENT_IDLE_S",
        purpose="seconds until a process that waits for its conversation is ended, 5 to 86400;"
        " default 300",
    ),
    Variable(
        name="SLACK_BOT_TOKEN",
        purpose="xoxb-..., the app's token in one workspace; others install with SLACK_CLIENT_ID",
        secret=True,
    ),
    Variable(
        name="SLACK_APP_TOKEN",
        purpose="xapp-..., for Socket Mode: Slack without a public address",
        secret=True,
    ),
    Variable(
        name="SLACK_SIGNING_SECRET",
        purpose="checks what Slack sends to /slack/events, when there is a public address",
        secret=True,
    ),
    Variable(
        name="SLACK_CLIENT_ID", purpose="the app's id, for installing it in several workspaces"
    ),
    Variable(name="SLACK_CLIENT_SECRET", purpose="the secret that belongs to that id", secret=True),
    Variable(
        name="IT0_SLACK_API_URL",
        purpose="another address for Slack's Web API, ending in /api; Slack's own when unset",
    ),
    Variable(
        name="TELEGRAM_BOT_TOKEN",
        purpose="123456:ABC..., from @BotFather; Telegram is off when unset",
        secret=True,
    ),
    Variable(
        name="TELEGRAM_WEBHOOK_SECRET",
        purpose="with an https IT0_PUBLIC_URL: updates come by webhook instead of long polling",
        secret=True,
    ),
    Variable(
        name="IT0_TELEGRAM_API_URL",
        purpose="another address for the Bot API, such as a local server; Telegram's when unset",
    ),
    Variable(
        name="IT0_TELEGRAM_FILE_URL",
        purpose="another address for its files; that of the Bot API when unset",
    ),
    Variable(
        name="SSH_AUTH_SOCK",
        purpose="the SSH agent's socket, for servers that are reached with its keys",
    ),
    Variable(
        name="IT0_BILLING",
        purpose="off: usage is counted, nothing is refused or billed; on (plans, quotas, invoices)"
        " when unset",
    ),
    Variable(name="IT0_CURRENCY", purpose="USD or CNY, for teams that chose none; USD when unset"),
    Variable(name="IT0_SELLER_NAME", purpose="who invoices, as printed on them; IT0 when unset"),
    Variable(name="IT0_SELLER_ADDRESS", purpose="its address on invoices; \\n begins a new line"),
    Variable(name="IT0_SELLER_TAX_NUMBER", purpose="its tax number on invoices"),
    Variable(name="IT0_SELLER_EMAIL", purpose="its address for questions, on invoices"),
    Variable(
        name="IT0_PAYMENT_INSTRUCTIONS",
        purpose="how an invoice is paid by hand, such as an account; \\n begins a new line",
    ),
    Variable(
        name="IT0_ADMIN_EMAIL",
        purpose="the first admin, made on the first start; admin@localhost when unset",
    ),
    Variable(
        name="IT0_TURN_SLOTS", purpose="turns that run at once in a process, 1 to 1000; default 256"
    ),
    Variable(
        name="IT0_SHUTDOWN_GRACE_S",
        purpose="seconds a SIGTERM leaves running turns to finish, 0 to 3600; default 20",
    ),
    Variable(
        name="IT0_MODEL_TIMEOUT_S",
        purpose="seconds without a byte from the provider until a call counts as stalled,"
        " 0.1 to 3600; default 60",
    ),
    Variable(
        name="IT0_MAX_OUTPUT_TOKENS",
        purpose="longest answer of one model call in tokens, 1 to 128000; default 8192",
    ),
)

NAMES = frozenset(variable.name for variable in VARIABLES)
