"""Everything of the application that PostgreSQL would run while tables are brought back (triggers,
rules, event triggers), switched off for the transaction and set back exactly as it was: an audit
trail must not record a restore as a day's work, and no other table may change by it.

Foreign keys are not meant: see :mod:`.loosened_keys`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from ..postgresql.connection import rows


@dataclasses.dataclass(frozen=True)
class _Reaction:
    """A trigger or a rule; ``relation`` as SQL text."""

    kind: str
    relation: str
    name: str
    state: str


# those of foreign keys, and of unique constraints that wait for the commit, are PostgreSQL's own;
# before 15 a partition's copy of a trigger counted as internal too
_REACTIONS = """
SELECT 'TRIGGER' AS kind, tgrelid::regclass::text AS relation, tgname AS name, tgenabled AS state
FROM pg_trigger WHERE tgrelid = ANY(%(oids)s) AND tgenabled <> 'D'
  AND (NOT tgisinternal OR tgparentid <> 0)
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = tgconstraint AND contype <> 't')
UNION ALL
SELECT 'RULE', ev_class::regclass::text, rulename, ev_enabled
FROM pg_rewrite WHERE ev_class = ANY(%(oids)s) AND ev_enabled <> 'D' AND ev_type <> '1'
ORDER BY 1, 2, 3"""
_EVENT_TRIGGERS = """
SELECT 'EVENT TRIGGER' AS kind, '' AS relation, evtname AS name, evtenabled AS state
FROM pg_event_trigger WHERE evtenabled <> 'D' AND pg_has_role(evtowner, 'USAGE') ORDER BY 3"""
_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def silence(
    live: psycopg.Connection, relations: Sequence[int], triggers: bool = False
) -> list[sql.Composed]:
    """Switch the triggers and rules of these relations off, each by itself: a partition's may be in
    another state than its parent's.

    :param triggers: leave these as they are.
    :return: the statements that set them back.
    """
    return [
        _switch_off(live, reaction)
        for reaction in rows(live, _Reaction, _REACTIONS, {"oids": list(relations)})
        if reaction.kind == "RULE" or not triggers
    ]


def told(live: psycopg.Connection, relations: Sequence[int], triggers: bool) -> list[Finding]:
    """Which triggers of these relations fire while they are written, or do not because they are
    switched off (``triggers``).
    """
    names = dict.fromkeys(
        f"{reaction.name} of {reaction.relation}"
        for reaction in rows(live, _Reaction, _REACTIONS, {"oids": list(relations)})
        if reaction.kind == "TRIGGER" and reaction.state in ("O", "A")
    )
    if not names:
        return []
    said = (
        "these triggers fire for each row that is written"
        if triggers
        else "these triggers do not fire (--triggers on lets them)"
    )
    return [finding("TRIGGERS_OF_TABLES", f"{said}: {', '.join(names)}")]


def silence_event_triggers(live: psycopg.Connection) -> list[sql.Composed]:
    """The same for what would run at our own ALTER and CREATE TABLE, as far as it is ours to
    switch; what else writes is seen by :mod:`.untouched`.
    """
    return [_switch_off(live, reaction) for reaction in rows(live, _Reaction, _EVENT_TRIGGERS)]


def _switch_off(live: psycopg.Connection, reaction: _Reaction) -> sql.Composed:
    name = sql.Identifier(reaction.name)
    if not reaction.relation:
        live.execute(sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(name))
        return sql.SQL("ALTER EVENT TRIGGER {} " + _ENABLE[reaction.state]).format(name)
    change = f"ALTER TABLE ONLY {{}} {{}} {reaction.kind} {{}}"
    relation = sql.SQL(reaction.relation)
    live.execute(sql.SQL(change).format(relation, sql.SQL("DISABLE"), name))
    return sql.SQL(change).format(relation, sql.SQL(_ENABLE[reaction.state]), name)
