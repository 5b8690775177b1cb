"""Billing accounts: who is invoiced, in which currency, at which tax rate.

A tenant's account is made when it is first needed. The account of the tenant ``''`` belongs to
nobody: it holds the installation's own currency, which new accounts begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from billing.operator import Account, AccountChanges
from billing.plans import CURRENCIES
from storage.database import execute
from storage.rows import integer, text

DEFAULTS: Final = ""
"""The tenant that stands for the installation."""
_COLUMNS = "tenant_id, currency, name, address, tax_number, email, tax_rate"


def account(conn: sa.Connection, tenant_id: str, at_ms: int, *, lock: str = "") -> Account:
    """The tenant's account; made now if there is none."""
    found = find(conn, tenant_id, lock=lock)
    if found is not None:
        return found
    default = find(conn, DEFAULTS)
    _insert(conn, tenant_id, default.currency if default else CURRENCIES[0], at_ms)
    made = find(conn, tenant_id, lock=lock)
    if made is None:
        message = "an account that was just made is gone"
        raise LookupError(message)
    return made


def find(conn: sa.Connection, tenant_id: str, *, lock: str = "") -> Account | None:
    """The tenant's account, if there is one; with ``lock="{row}"`` its row is locked."""
    row = execute(
        conn,
        f"SELECT {_COLUMNS} FROM billing_accounts WHERE tenant_id = :tenant{lock}",
        tenant=tenant_id,
    ).first()
    return None if row is None else _account_of(row)


def set_default_currency(conn: sa.Connection, currency: str, at_ms: int) -> None:
    """The currency of accounts that are made from now on."""
    _insert(conn, DEFAULTS, currency, at_ms)
    execute(
        conn,
        "UPDATE billing_accounts SET currency = :currency, updated_at = :at"
        " WHERE tenant_id = :tenant AND currency <> :currency",
        tenant=DEFAULTS,
        currency=currency,
        at=at_ms,
    )


def change(conn: sa.Connection, before: Account, changes: AccountChanges, at_ms: int) -> Account:
    """Write what is told of it; None stays as it is. Invoices that were issued keep theirs."""
    after = replace(
        before,
        currency=_or(changes.currency, before.currency),
        name=_or(changes.name, before.name),
        address=_or(changes.address, before.address),
        tax_number=_or(changes.tax_number, before.tax_number),
        email=_or(changes.email, before.email),
        tax_rate=before.tax_rate if changes.tax_rate is None else changes.tax_rate,
    )
    execute(
        conn,
        "UPDATE billing_accounts SET currency = :currency, name = :name, address = :address,"
        " tax_number = :number, email = :email, tax_rate = :rate, updated_at = :at"
        " WHERE tenant_id = :tenant",
        tenant=after.tenant_id,
        currency=after.currency,
        name=after.name,
        address=after.address,
        number=after.tax_number,
        email=after.email,
        rate=after.tax_rate,
        at=at_ms,
    )
    return after


def _or(told: str | None, before: str) -> str:
    return before if told is None else told


def _insert(conn: sa.Connection, tenant_id: str, currency: str, at_ms: int) -> None:
    """Empty but for the name, which is the tenant's."""
    execute(
        conn,
        "INSERT INTO billing_accounts (tenant_id, currency, name, address, tax_number, email,"
        " updated_at) VALUES (:tenant, :currency, COALESCE((SELECT name FROM tenants"
        " WHERE id = :tenant), ''), '', '', '', :at) ON CONFLICT (tenant_id) DO NOTHING",
        tenant=tenant_id,
        currency=currency,
        at=at_ms,
    )


def _account_of(row: Sequence[object]) -> Account:
    return Account(
        tenant_id=text(row[0]),
        currency=text(row[1]),
        name=text(row[2]),
        address=text(row[3]),
        tax_number=text(row[4]),
        email=text(row[5]),
        tax_rate=integer(row[6]),
    )
