"""What can be said of a role, and how each of it is said to a server. Pure.

Nothing here is a text of somebody else's: statements are made of the words below and of names and
texts that are quoted anew.
"""

from __future__ import annotations

import dataclasses

from psycopg import sql

from ..postgresql import parameters

#: what a role may be or not be
ATTRIBUTES = (
    "SUPERUSER",
    "INHERIT",
    "CREATEROLE",
    "CREATEDB",
    "LOGIN",
    "REPLICATION",
    "BYPASSRLS",
)
#: how a membership may be given
MEMBER_OPTIONS = ("ADMIN", "INHERIT", "SET")


@dataclasses.dataclass(frozen=True, slots=True)
class CreateRole:
    role: str


@dataclasses.dataclass(frozen=True, slots=True)
class Attributes:
    """``ALTER ROLE ... WITH``; only what was said. ``password`` is a hash; None: none was said."""

    role: str
    flags: tuple[tuple[str, bool], ...] = ()
    connection_limit: int | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    valid_until: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class RoleSetting:
    """``ALTER ROLE ... SET``; ``database`` is empty where it holds for all."""

    role: str
    database: str
    name: str
    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class RoleComment:
    role: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Membership:
    """``GRANT group TO member``; of the options only what was said."""

    group: str
    member: str
    options: tuple[tuple[str, bool], ...] = ()
    grantor: str = ""


Statement = CreateRole | Attributes | RoleSetting | RoleComment | Membership


def composed(said: Statement, major: int) -> sql.Composed:
    """The statement for the server: every name and every text is quoted anew, and all the rest is
    ours.
    """
    if isinstance(said, CreateRole):
        return sql.SQL("CREATE ROLE {}").format(sql.Identifier(said.role))
    if isinstance(said, RoleComment):
        return sql.SQL("COMMENT ON ROLE {} IS {}").format(
            sql.Identifier(said.role), sql.Literal(said.text)
        )
    if isinstance(said, RoleSetting):
        return sql.SQL("ALTER ROLE {} {}").format(
            sql.Identifier(said.role), parameters.assignment(said.name, said.values)
        )
    if isinstance(said, Membership):
        return _grant(said, major)
    words: list[sql.Composable] = [
        sql.SQL(flag if yes else f"NO{flag}") for flag, yes in said.flags
    ]
    if said.connection_limit is not None:
        words.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(said.connection_limit)))
    if said.password is not None:
        words.append(sql.SQL("PASSWORD {}").format(sql.Literal(said.password)))
    if said.valid_until is not None:
        words.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(said.valid_until)))
    return sql.SQL("ALTER ROLE {} WITH {}").format(
        sql.Identifier(said.role), sql.SQL(" ").join(words)
    )


def _grant(said: Membership, major: int) -> sql.Composed:
    words = [
        sql.SQL(f"{option} {'TRUE' if yes else 'FALSE'}" if major >= 16 else f"{option} OPTION")
        for option, yes in said.options
    ]
    return sql.SQL("GRANT {} TO {}{}").format(
        sql.Identifier(said.group),
        sql.Identifier(said.member),
        sql.SQL(" WITH {}").format(sql.SQL(", ").join(words)) if words else sql.SQL(""),
    )
