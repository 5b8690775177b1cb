"""Tenants, users and what a role may use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person may do inside a tenant; each role includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """0 for viewer, 1 for operator, 2 for admin."""
        return list(Role).index(self)

    def includes(self, other: Role) -> bool:
        """Whether this role may do everything that ``other`` may."""
        return self.rank >= other.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer: owns users, conversations, servers and a bill."""

    id: str
    name: str
    engine: str | None = None
    """The tenant's default engine, or None for the installation's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person in a tenant. The role is read at each request, never cached in a token."""

    id: str
    tenant_id: str
    email: str
    name: str
    role: Role
