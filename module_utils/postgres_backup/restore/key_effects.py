"""What bringing tables back does to the foreign keys around them: whose rows would refer to nothing
afterwards, and which keys would act, or stand in the way, while rows come and go.

All of it is asked under locks that hold until the commit (in check mode, of one snapshot).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import value
from .foreign_keys import ForeignKey, holds
from .partitions import taken_by
from .table_rows import Change, listed


@dataclasses.dataclass(frozen=True)
class End:
    """One end of a key: the rows of a live relation, of which chosen tables hold some or all.

    :param source: what to read the live relation from.
    :param bounds: which rows of a chosen table above it are in it.
    :param parts: what becomes of the chosen tables that it shares rows with, by their place in the
        order.
    """

    source: sql.Composed
    columns: list[str]
    bounds: sql.Composable
    whole: bool
    parts: dict[int, Change]

    @property
    def doomed_rows(self) -> bool:
        return any(part.doomed for part in self.parts.values())

    @property
    def written(self) -> bool:
        return any(part.inserted or part.updated for part in self.parts.values())

    def others(self) -> sql.Composed:
        """Its rows that nobody named."""
        named = [oid for part in self.parts.values() for oid in part.table.relations]
        return sql.SQL("SELECT {} FROM {} t WHERE t.tableoid <> ALL({}::oid[])").format(
            listed(self.columns), self.source, sql.Literal(named)
        )

    def staged(self) -> sql.Composed:
        """The backup's rows of it."""
        return _union(
            sql.SQL("SELECT {} FROM {} WHERE {}").format(
                listed(self.columns), part.table.staging, self.bounds
            )
            for part in self.parts.values()
        )

    def at_last(self) -> sql.Composed:
        """Its rows once all is done."""
        if not self.parts:
            return self.others()
        return self.staged() if self.whole else _union([self.others(), self.staged()])

    def doomed(self) -> sql.Composed:
        """Its live rows that are deleted on the way."""
        return _union(
            sql.SQL(
                "SELECT {} FROM {} t JOIN {} d ON t.tableoid = d.relation AND t.ctid = d.at"
            ).format(listed(self.columns, "t"), self.source, part.table.doomed)
            for part in self.parts.values()
        )

    def all(self) -> sql.Composed:
        """Its live rows."""
        return sql.SQL("SELECT {} FROM {} t").format(listed(self.columns), self.source)

    def staying(self) -> sql.Composed:
        """Its live rows that are not deleted on the way."""
        return sql.SQL("SELECT {} FROM {} t WHERE {}").format(
            listed(self.columns),
            self.source,
            sql.SQL(" AND ").join(
                sql.SQL(
                    "NOT EXISTS (SELECT FROM {} d WHERE d.relation = t.tableoid AND d.at = t.ctid)"
                ).format(part.table.doomed)
                for part in self.parts.values()
            ),
        )


def _union(parts: Iterable[sql.Composed]) -> sql.Composed:
    return sql.SQL(" UNION ALL ").join(list(parts))


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a repair does to one key.

    :param orphans: rows of other tables, or of chosen ones (``chosen``), that would refer to
        nothing.
    :param in_the_way: it would act, or refuse what is right in the end.
    """

    key: ForeignKey
    orphans: int = 0
    chosen: bool = False
    in_the_way: bool = False


def effects(
    live: psycopg.Connection, changes: Sequence[Change], keys: Sequence[ForeignKey]
) -> list[Effect]:
    """What becomes of these keys.

    :param changes: of existing tables, in the order in which they are written; they are deleted
        from in the opposite one.
    """
    return [_effect(live, changes, key) for key in keys]


def _effect(live: psycopg.Connection, changes: Sequence[Change], key: ForeignKey) -> Effect:
    child = end_of(live, changes, key.child, key.child_rows(), key.child_columns)
    parent = end_of(live, changes, key.parent, key.parent_rows(), key.parent_columns)
    # a circle of keys: some child is written before its parent
    early = bool(child.parts and parent.parts) and min(child.parts) < max(parent.parts)
    if parent.doomed_rows:
        if not key.ours:  # PostgreSQL itself keeps those that do not act
            return Effect(key, in_the_way=key.acts)
        orphans = 0 if child.whole else _orphans(live, key, child, parent)
        if orphans:
            return Effect(key, orphans)
    loose = 0
    if child.parts and (child.written or parent.doomed_rows) and key.parent_readable:
        loose = _unmatched(live, key, child, parent)
        # a key that is NOT VALID bears rows that fit nothing, if they are no more than before
        unfit = loose
        if loose and not key.validated:
            unfit = 0 if parent.whole else _newly(live, key, child, parent)
        if unfit:
            return Effect(key, unfit, chosen=True)
    circle = early and child.written and (parent.written or parent.doomed_rows)
    # an action runs, and statement triggers of the child with it, even where it finds no row
    if loose or circle or (parent.doomed_rows and key.acts):
        return Effect(key, in_the_way=True)
    staying = child.staying() if child.parts and not early else child.all()
    return Effect(key, in_the_way=parent.doomed_rows and _referred(live, key, staying, parent))


def end_of(
    live: psycopg.Connection,
    changes: Sequence[Change],
    relation: int,
    source: sql.Composed,
    columns: list[str],
) -> End:
    """One end of a key, seen through what becomes of the chosen tables."""
    parts = {place: change for place, change in enumerate(changes) if holds(change.table, relation)}
    tables = [part.table for part in parts.values()]
    bounds: sql.Composable = sql.SQL("true")
    if any(relation in table.relations[1:] for table in tables):
        bounds = taken_by(live, relation)
    return End(source, columns, bounds, any(relation in table.relations for table in tables), parts)


def _orphans(live: psycopg.Connection, key: ForeignKey, child: End, parent: End) -> int:
    """How many rows that nobody named refer to some that go for good."""
    query = """SELECT count(*) FROM ({}) c JOIN ({}) p ON {}
        WHERE NOT EXISTS (SELECT FROM ({}) q WHERE {})"""
    parts = (child.others(), parent.doomed(), key.match("p"), parent.at_last(), key.match("q"))
    return value(live, int, sql.SQL(query).format(*parts))


def _unmatched(live: psycopg.Connection, key: ForeignKey, child: End, parent: End) -> int:
    """How many of the backup's rows refer to some that are not there."""
    query = sql.SQL("SELECT count(*) FROM ({}) x").format(_loose(key, child, parent))
    return value(live, int, query)


def _newly(live: psycopg.Connection, key: ForeignKey, child: End, parent: End) -> int:
    """How many more of them than there are now."""
    query = sql.SQL("SELECT count(*) FROM ({} EXCEPT ALL {}) x").format(
        _loose(key, child, parent), child.all()
    )
    return value(live, int, query)


def _loose(key: ForeignKey, child: End, parent: End) -> sql.Composed:
    refers = sql.SQL(" AND ").join(
        sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(column)) for column in child.columns
    )
    return sql.SQL(
        "SELECT {} FROM ({}) c WHERE {} AND NOT EXISTS (SELECT FROM ({}) p WHERE {})"
    ).format(listed(child.columns), child.staged(), refers, parent.at_last(), key.match("p"))


def _referred(
    live: psycopg.Connection, key: ForeignKey, children: sql.Composed, parent: End
) -> bool:
    """Whether any of these rows refers to one that is deleted on the way."""
    query = "SELECT EXISTS (SELECT FROM ({}) c JOIN ({}) p ON {})"
    return value(live, bool, sql.SQL(query).format(children, parent.doomed(), key.match("p")))


def refuse(found: Sequence[Effect]) -> None:
    """:raises DatabaseError: other tables would lose what they refer to, or a key is in the way and
    not ours to take off.
    """
    said, also = [], []
    for effect in found:
        key = effect.key
        if effect.orphans and effect.chosen:
            said.append(
                f"{effect.orphans} rows of {key.child_name} in the backup belong to rows of "
                f"{key.parent_name} that are not there now ({key.name})"
            )
            also.append(key.parent_name)
        elif effect.orphans:
            said.append(
                f"{effect.orphans} rows of {key.child_name} belong to rows of {key.parent_name} "
                f"that came after the backup, and would belong to nothing ({key.name})"
            )
            also.append(key.child_name)
        elif effect.in_the_way and not (key.ours and key.removable):
            said.append(
                f"the foreign key {key.name} of {key.child_name} would act on its rows while "
                f"{key.parent_name} is brought back, and we may not take it off for that moment"
            )
    if said:
        named = ",".join(dict.fromkeys(also))
        raise DatabaseError(
            f"Failed to bring the tables back: {'; '.join(said)}",
            (
                f"Name those tables too: tables=...,{named}; or restore"
                if named
                else "Name the owner of those tables, or a superuser, in backup_db_user; or restore"
            )
            + " the whole database. Nothing was changed",
        )
