"""What the table definitions share: the metadata that collects them, and the two column types."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Text, text

metadata = sa.MetaData()


def text_column(
    name: str, *, null: bool = False, key: bool = False, default: str | None = None
) -> Column[str]:
    """A TEXT column."""
    preset = None if default is None else text(f"'{default}'")
    return Column(name, Text, nullable=null, primary_key=key, server_default=preset)


def int_column(
    name: str, *, null: bool = False, key: bool = False, zero: bool = False
) -> Column[int]:
    """A BIGINT column; an id is never made by the database."""
    default = text("0") if zero else None
    return Column(
        name,
        BigInteger,
        nullable=null,
        primary_key=key,
        server_default=default,
        autoincrement=False,
    )
