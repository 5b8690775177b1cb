"""The tables of people and access: who they are, where they write, how they come in."""

from __future__ import annotations

from sqlalchemy import Index, Table, text

from storage.columns import int_column as _int
from storage.columns import metadata
from storage.columns import text_column as _text

tenants = Table(
    "tenants",
    metadata,
    _text("id", key=True),
    _text("name"),
    _text("engine", null=True),
    _int("created_at"),
)

users = Table(
    "users",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("email"),
    _text("name"),
    _text("role"),
    _int("created_at"),
    _int("disabled_at", null=True),
    _text("language", null=True),  # their own choice; else the platform's counts
    Index("users_email", "tenant_id", "email", unique=True),
    Index("users_address", "email"),
)

identities = Table(  # a person on a platform may be a member of several tenants
    "identities",
    metadata,
    _text("platform", key=True),
    _text("workspace", key=True),
    _text("external_id", key=True),
    _text("tenant_id", key=True),
    _text("user_id"),
    _int("created_at"),
    _int("chosen_at", zero=True),  # in private chats the tenant that was chosen last counts
    Index("identities_user", "user_id"),
)

links = Table(  # the tenant of a shared place: a Slack workspace, a Telegram group
    "links",
    metadata,
    _text("platform", key=True),
    _text("group_id", key=True),
    _text("tenant_id"),
    _text("user_id"),  # who linked it
    _int("created_at"),
    Index("links_tenant", "tenant_id"),
)

codes = Table(  # one-time codes, as hashes: they make somebody a user, or one of a user's selves
    "codes",
    metadata,
    _text("hash", key=True),
    _text("tenant_id"),
    _text("kind"),  # link, invite
    _text("user_id", null=True),  # link: who its sender becomes
    _text("email", null=True),  # invite: who is invited
    _text("role", null=True),
    _text("created_by"),
    _int("created_at"),
    _int("expires_at"),
    _int("used_at", null=True),
    _text("used_by", null=True),  # the identity that used it: its second delivery is no theft
    Index("codes_tenant", "tenant_id"),
    Index("codes_age", "expires_at"),
)

pairings = Table(  # strangers who asked to be let in; nothing else is kept of them
    "pairings",
    metadata,
    _text("code", key=True),
    _text("platform"),
    _text("workspace"),
    _text("external_id"),
    _text("tenant_id", null=True),  # the team of the place they wrote at: it alone lets them in
    _text("name"),
    _int("created_at"),
    _int("expires_at"),
    Index("pairings_actor", "platform", "workspace", "external_id", unique=True),
    Index("pairings_age", "expires_at"),
)

installs = Table(  # workspaces that installed the app, with their sealed tokens
    "installs",
    metadata,
    _text("platform", key=True),
    _text("workspace", key=True),
    _text("sealed"),
    _int("created_at"),
    _int("updated_at"),
    _int("revoked_at", null=True),
)

shares = Table(  # who may resume a conversation that is not theirs: its owner allowed it
    "shares",
    metadata,
    _text("conversation_id", key=True),
    _text("user_id", key=True),
    _text("tenant_id"),
    _int("created_at"),
    Index("shares_user", "tenant_id", "user_id"),
)

feedback = Table(
    "feedback",
    metadata,
    _text("turn_id", key=True),
    _text("user_id", key=True),
    _text("tenant_id"),
    _int("good"),
    _int("created_at"),
    Index("feedback_tenant", "tenant_id", "created_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("user_id"),
    _int("created_at"),
    _int("expires_at"),
    _int("revoked_at", null=True),
    _text("parent", null=True),  # the token or session it was made with; goes when that one goes
    Index("api_tokens_parent", "parent"),
)

web_sessions = Table(  # signed-in browsers; of the cookie there are hashes alone
    "web_sessions",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("user_id"),
    _text("series_hash"),  # the half of the cookie that stays: it finds the row
    _text("token_hash"),  # the half that changes: the one that counts now
    _text("next_hash", null=True),  # offered to the browser, not seen yet
    _text("previous_hash", null=True),  # good for a moment after its successor was seen
    _int("offered_at", null=True),
    _int("rotated_at"),  # since when token_hash counts
    _int("created_at"),
    _int("seen_at"),  # to the minute
    _int("expires_at"),  # when it ends if nobody uses it
    _int("ends_at"),  # when it ends in any case
    _int("revoked_at", null=True),
    _text("browser", default=""),  # "Firefox on Linux", for the list of one's own sessions
    _text("parent", null=True),  # the token or session that its link was made with
    _text("made_by", default=""),  # who made that link; somebody else's right to do so may end
    Index("web_sessions_maker", "tenant_id", "made_by"),
    Index("web_sessions_series", "series_hash", unique=True),
    Index("web_sessions_user", "tenant_id", "user_id"),
    Index("web_sessions_age", "expires_at"),
    Index(
        "web_sessions_revoked",
        "revoked_at",
        sqlite_where=text("revoked_at IS NOT NULL"),
        postgresql_where=text("revoked_at IS NOT NULL"),
    ),
    Index("web_sessions_parent", "parent"),
)

sign_in_codes = Table(  # what sign-in links hold, as hashes: each opens one session, once
    "sign_in_codes",
    metadata,
    _text("hash", key=True),
    _text("tenant_id"),
    _text("user_id"),
    _text("created_by"),
    _int("created_at"),
    _int("expires_at"),
    _int("ends_at", null=True),  # the session that it opens ends then at the latest
    _int("used_at", null=True),
    _text("parent", null=True),  # the token or session it was made with
    _text("attempt", null=True),  # of the page that used it: it may ask again when no answer came
    _text("session_id", null=True),  # what it opened
    Index("sign_in_codes_user", "tenant_id", "user_id"),
    Index("sign_in_codes_age", "expires_at"),
    Index("sign_in_codes_parent", "parent"),
)
