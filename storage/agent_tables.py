"""The tables of a tenant's agent: its configuration, its skills, the engines' own sessions."""

from __future__ import annotations

from sqlalchemy import Table

from storage.columns import int_column as _int
from storage.columns import metadata
from storage.columns import text_column as _text

agent_configs = Table(
    "agent_configs",
    metadata,
    _text("tenant_id", key=True),
    _text("billing"),  # installation, own_key, subscription
    _text("api_key", null=True),  # sealed; the tenant is the associated data
    _text("api_key_hint"),  # its last characters, to recognise it by
    _text("model", null=True),
    _text("allowed_tools", null=True),  # JSON list; NULL: all that the role may use
    _text("denied_tools"),  # JSON list
    _int("approval_timeout_s"),
    _text("on_timeout"),  # deny, approve
    _text("prompt_addition"),
    _int("version"),  # grows with each change: a writer names the one it read
    _int("updated_at"),
    _text("updated_by"),
    _int("four_eyes", zero=True),  # who asked may not approve
    _int("freeze_from", null=True),  # a change freeze: nothing above L0 without a human
    _int("freeze_until", null=True),
    _text("freeze_reason", default=""),
    _text("raised", default="{}"),  # JSON: tool or program -> its least level
)

engine_sessions = Table(  # where an engine's own memory of a conversation goes on
    "engine_sessions",
    metadata,
    _text("conversation_id", key=True),
    _text("tenant_id"),
    _text("user_id"),
    _text("engine"),
    _text("token"),
    _text("turn_id"),  # the last turn it holds
    _int("updated_at"),
)

skills = Table(
    "skills",
    metadata,
    _text("tenant_id", key=True),
    _text("name", key=True),
    _text("description"),
    _text("body"),
    _text("triggers"),  # JSON list of phrases
    _text("steps"),  # JSON list of tools with their arguments
    _int("enabled"),
    _int("created_at"),
    _int("updated_at"),
    _text("updated_by"),
)

skill_switches = Table(  # skills of the installation that a tenant switched off, or on again
    "skill_switches",
    metadata,
    _text("tenant_id", key=True),
    _text("name", key=True),
    _int("enabled"),
    _int("updated_at"),
    _text("updated_by"),
)
