"""What each team chose for its agent: one row a tenant; its API key is sealed to the tenant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import sqlalchemy as sa

from core.agent_config import (
    DEFAULTS,
    KEEP,
    AgentConfig,
    Billing,
    ConfigChanges,
    Conflict,
    Freeze,
    OnTimeout,
    StoredConfig,
    UnusableAccount,
    key_hint,
)
from core.audit import AuditEntry
from core.errors import EngineFailure, NotFound
from core.risk import Level
from core.sealing import CannotUnseal, seal, unseal
from core.turns import Turn
from core.words import sentence
from storage.audit import append_audit
from storage.database import Database, execute, now_ms
from storage.rows import integer, optional_text, text

_COLUMNS = (
    "c.billing, c.model, c.allowed_tools, c.denied_tools, c.approval_timeout_s, c.on_timeout,"
    " c.prompt_addition, c.four_eyes, c.freeze_from, c.freeze_until, c.freeze_reason, c.raised"
)
_OTHERS = "(SELECT COUNT(*) FROM (SELECT 1 FROM tenants LIMIT 2) tenants)"
"""1 on an installation with one tenant, else 2; never reads a third row."""
_ON_RECORD = ("billing", "model", "approval_timeout_s", "on_timeout", "four_eyes", "freeze")
"""Fields whose new value is in the audit row; of the others there is the name alone."""

UNREADABLE = sentence(
    "Your team's API key cannot be read: it was stored with another key of this installation. "
    "An admin has to enter it again (PATCH /api/v1/agent-config with api_key), or choose "
    "another billing mode."
)
MISSING = sentence(
    "Your team pays with an API key of its own, but there is none. An admin has to enter one "
    "(PATCH /api/v1/agent-config with api_key), or choose another billing mode."
)
SEVERAL_TENANTS = sentence(
    "Your team uses the operator's own login with the model provider, which is for an "
    "installation with one team; this one has several. An admin has to choose another billing "
    "mode (PATCH /api/v1/agent-config with billing)."
)
DAMAGED = sentence(
    "Your team's agent configuration cannot be read: a newer version of IT0 wrote it, or it was "
    "damaged. Tell the person who runs this installation."
)


def sealed_for(tenant_id: str) -> str:
    """What a key is bound to: a row that is copied to another tenant does not open there."""
    return f"{tenant_id}/anthropic_api_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A change on its way into the database, without the key: sealed, and its hint."""

    actor: str
    tenant_id: str
    changes: ConfigChanges
    sealed: str | None = None
    expected: int | None = None
    """The version that the writer read; None: whatever it is."""
    turn_id: str = ""


class SqlAgentConfigs:
    """Implements ``core.agent_config.AgentConfigs``, and what changes the configuration."""

    def __init__(
        self, db: Database, key: bytes, audit_key: bytes, *, login_only: bool = False
    ) -> None:
        """``key`` seals the API keys (``Keys.derive("agent_configs")``).

        ``login_only``: the installation has no key but the operator's login, which then is
        what a team without a choice uses.
        """
        self._login_only = login_only
        self._db = db
        self._key = key
        self._audit_key = audit_key

    async def of(self, tenant_id: str) -> AgentConfig:
        """See the port."""
        row, tenants = await self._db.read(_chosen, tenant_id)
        sealed, config = None, DEFAULTS
        if row is not None:
            sealed, config = optional_text(row[0]), _readable(row[1:])
        if self._login_only and config.billing is Billing.INSTALLATION:
            config = replace(config, billing=Billing.SUBSCRIPTION)
        match config.billing:
            case Billing.OWN_KEY:
                return replace(config, api_key=self._opened(tenant_id, sealed, config))
            case Billing.SUBSCRIPTION if tenants != 1:
                reason = "several_tenants"
                raise UnusableAccount(SEVERAL_TENANTS, reason=reason, config=config)
            case _:
                return config

    def _opened(self, tenant_id: str, sealed: str | None, config: AgentConfig) -> str:
        if sealed is None:
            raise UnusableAccount(MISSING, reason="own_key_missing", config=config)
        try:
            return unseal(self._key, sealed, sealed_for(tenant_id))
        except CannotUnseal:
            reason = "own_key_unreadable"
            raise UnusableAccount(UNREADABLE, reason=reason, config=config) from None

    async def read(self, tenant_id: str) -> StoredConfig:
        """The configuration without its key. Raises ``NotFound``."""
        return await self._db.read(_stored, tenant_id)

    async def change(
        self, actor: str, tenant_id: str, changes: ConfigChanges, expected_version: int
    ) -> StoredConfig | Conflict:
        """Change what ``changes`` names, with an audit row; ``actor`` is a user's id.

        Nothing is written when nothing differs. Raises ``NotFound``.
        """
        sealed = None
        if isinstance(changes.api_key, str):
            sealed = seal(self._key, changes.api_key, sealed_for(tenant_id))
            # From here on its hint stands for the key: the database's layers never see it.
            changes = replace(changes, api_key=key_hint(changes.api_key))
        change = _Change(
            actor=actor,
            tenant_id=tenant_id,
            changes=changes,
            sealed=sealed,
            expected=expected_version,
        )
        return await self._db.transaction(_change, self._audit_key, change)

    async def set_model(self, turn: Turn, model: str | None) -> None:
        """The model of the turn's team; None is the installation's."""
        change = _Change(
            actor=turn.user.id,
            tenant_id=turn.tenant_id,
            changes=ConfigChanges(model=model),
            turn_id=turn.id,
        )
        await self._db.transaction(_change, self._audit_key, change)


def _chosen(conn: sa.Connection, tenant_id: str) -> tuple[Sequence[object] | None, int]:
    """Read at each turn: the row, if there is one, and whether there are other tenants."""
    row = execute(
        conn,
        f"SELECT c.api_key, {_COLUMNS} FROM agent_configs c WHERE c.tenant_id = :tenant",
        tenant=tenant_id,
    ).first()
    return row, integer(execute(conn, f"SELECT {_OTHERS}").one()[0])


def _stored(conn: sa.Connection, tenant_id: str, *, locked: bool = False) -> StoredConfig:
    """The tenant's row stands for all its configuration: whoever changes it locks that one."""
    lock = "{row}" if locked else ""
    tenant = execute(
        conn,
        f"SELECT engine FROM tenants WHERE id = :tenant{lock}",
        tenant=tenant_id,
    ).first()
    if tenant is None:
        raise NotFound(sentence("There is no such team."))
    tenants = integer(execute(conn, f"SELECT {_OTHERS}").one()[0])
    stored = StoredConfig(engine=optional_text(tenant[0]), only_tenant=tenants == 1)
    row = execute(
        conn,
        "SELECT c.api_key_hint, c.version, c.updated_at, c.updated_by,"
        f" {_COLUMNS} FROM agent_configs c WHERE c.tenant_id = :tenant",
        tenant=tenant_id,
    ).first()
    if row is None:
        return stored
    return replace(
        stored,
        config=_config(row[4:]),
        api_key_hint=text(row[0]),
        version=integer(row[1]),
        updated_at_ms=integer(row[2]),
        updated_by=text(row[3]),
    )


def _readable(row: Sequence[object]) -> AgentConfig:
    """As ``_config``; a row of another version, or a damaged one, never counts as the defaults."""
    try:
        return _config(row)
    except (ValueError, TypeError):
        raise EngineFailure(DAMAGED, reason="agent_config_unreadable") from None


def _config(row: Sequence[object]) -> AgentConfig:
    """The configuration of a row of ``_COLUMNS``, without its key."""
    allowed = optional_text(row[2])
    return AgentConfig(
        billing=Billing(text(row[0])),
        model=optional_text(row[1]),
        allowed_tools=None if allowed is None else tuple(json.loads(allowed)),
        denied_tools=tuple(json.loads(text(row[3]))),
        approval_timeout_s=integer(row[4]),
        on_timeout=OnTimeout(text(row[5])),
        prompt_addition=text(row[6]),
        four_eyes=bool(integer(row[7])),
        freeze=_freeze(row[8:11]),
        raised={name: Level[level] for name, level in json.loads(text(row[11])).items()},
    )


def _freeze(row: Sequence[object]) -> Freeze | None:
    if row[0] is None:
        return None
    return Freeze(from_ms=integer(row[0]), until_ms=integer(row[1]), reason=text(row[2]))


def _change(conn: sa.Connection, audit_key: bytes, change: _Change) -> StoredConfig | Conflict:
    old = _stored(conn, change.tenant_id, locked=True)
    if change.expected is not None and change.expected != old.version:
        return Conflict(version=old.version)
    new = change.changes.applied_to(old)
    changed = _differing(old, new, change)
    if not changed:
        return old
    new = replace(new, version=old.version + 1, updated_at_ms=now_ms(conn), updated_by=change.actor)
    _save(conn, new, change)
    entry = AuditEntry(
        actor=change.actor,
        action="agent_config.changed",
        turn_id=change.turn_id,
        detail=_detail(new, changed),
    )
    append_audit(conn, audit_key, change.tenant_id, entry)
    return new


def _differing(old: StoredConfig, new: StoredConfig, change: _Change) -> tuple[str, ...]:
    """The names of what differs; a key that is entered again counts: it cannot be compared."""
    changed = [
        field.name
        for field in fields(AgentConfig)
        if getattr(old.config, field.name) != getattr(new.config, field.name)
    ]
    if change.sealed is not None or old.has_api_key != new.has_api_key:
        changed.append("api_key")
    if old.engine != new.engine:
        changed.append("engine")
    return tuple(changed)


def _detail(new: StoredConfig, changed: tuple[str, ...]) -> dict[str, str | int]:
    detail: dict[str, str | int] = {"fields": ",".join(changed), "version": new.version}
    for name in _ON_RECORD:
        if name in changed:
            value: object = getattr(new.config, name)
            detail[name] = value if isinstance(value, int) else str(value or "default")
    if "engine" in changed:
        detail["engine"] = new.engine or "default"
    return detail


def _save(conn: sa.Connection, new: StoredConfig, change: _Change) -> None:
    """Write every column but the key; then the key and the engine, when they are to change."""
    config = new.config
    allowed, freeze = config.allowed_tools, config.freeze
    execute(
        conn,
        "INSERT INTO agent_configs (tenant_id, billing, api_key, api_key_hint, model,"
        " allowed_tools, denied_tools, approval_timeout_s, on_timeout, prompt_addition, four_eyes,"
        " freeze_from, freeze_until, freeze_reason, raised, version, updated_at, updated_by)"
        " VALUES (:tenant, :billing, NULL, '', :model, :allowed, :denied, :timeout, :on_timeout,"
        " :prompt, :four_eyes, :freeze_from, :freeze_until, :freeze_reason, :raised, :version,"
        " :at, :by) ON CONFLICT (tenant_id) DO UPDATE"
        " SET billing = excluded.billing, model = excluded.model,"
        " allowed_tools = excluded.allowed_tools, denied_tools = excluded.denied_tools,"
        " approval_timeout_s = excluded.approval_timeout_s, on_timeout = excluded.on_timeout,"
        " prompt_addition = excluded.prompt_addition, four_eyes = excluded.four_eyes,"
        " freeze_from = excluded.freeze_from, freeze_until = excluded.freeze_until,"
        " freeze_reason = excluded.freeze_reason, raised = excluded.raised,"
        " version = excluded.version,"
        " updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        tenant=change.tenant_id,
        billing=str(config.billing),
        model=config.model,
        allowed=None if allowed is None else json.dumps(allowed),
        denied=json.dumps(config.denied_tools),
        timeout=config.approval_timeout_s,
        on_timeout=str(config.on_timeout),
        prompt=config.prompt_addition,
        four_eyes=int(config.four_eyes),
        freeze_from=None if freeze is None else freeze.from_ms,
        freeze_until=None if freeze is None else freeze.until_ms,
        freeze_reason="" if freeze is None else freeze.reason,
        raised=json.dumps({name: level.name for name, level in config.raised.items()}),
        version=new.version,
        at=new.updated_at_ms,
        by=new.updated_by,
    )
    if change.changes.api_key is not KEEP:
        execute(
            conn,
            "UPDATE agent_configs SET api_key = :sealed, api_key_hint = :hint"
            " WHERE tenant_id = :tenant",
            sealed=change.sealed,
            hint=new.api_key_hint,
            tenant=change.tenant_id,
        )
    if change.changes.engine is not KEEP:
        execute(
            conn,
            "UPDATE tenants SET engine = :engine WHERE id = :tenant",
            engine=new.engine,
            tenant=change.tenant_id,
        )
