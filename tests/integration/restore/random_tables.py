"""Random schemas, and what may happen to them after a backup: what the property test of repairs
draws from, and how it looks at a database.

Every table has the columns ``id``, ``code``, ``up``, ``over`` and ``v``, and perhaps ``more``
later; the keys go from ``up`` or ``over`` to an ``id`` or ``code``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable

import psycopg
from hypothesis import strategies as st

NAMES = ("a", "b", "c", "d")
ACTIONS = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT")
STATES = ("ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA")
#: what keeps a ``code`` from being there twice; only to the first may a foreign key refer
UNIQUE = (
    "UNIQUE (code)",
    "UNIQUE (code) DEFERRABLE INITIALLY DEFERRED",
    "EXCLUDE USING btree (code WITH =)",
)
#: what ``more`` holds unless told otherwise
MORE = "7"
HELPERS = """
CREATE TABLE audit (n bigserial PRIMARY KEY, what text);
CREATE TABLE balance (amount int); INSERT INTO balance VALUES (100);
CREATE FUNCTION react() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    INSERT INTO audit (what) VALUES (TG_NAME || TG_OP);
    UPDATE balance SET amount = amount + 50;
    RETURN NULL;
END$$"""


@dataclasses.dataclass(frozen=True)
class Made:
    """A table; one that is partitioned, by ``id``, has the partitions ``_low`` and ``_high``.

    :param key: ``primary``, ``unique`` (which may be NULL) or ``none``: what its ``id`` is.
    :param unique: one of ``UNIQUE``.
    :param inherited: another table, ``_kid``, inherits from it; its rows have the same ids.
    :param hidden: row level security hides its rows from all but its owner.
    """

    name: str
    key: str
    partitioned: bool
    unique: str
    inherited: bool
    hidden: bool
    rows: tuple[tuple[int, int | None, int | None], ...]

    @property
    def targets(self) -> list[str]:
        """Columns that a foreign key may refer to."""
        ids = ["id"] if self.key != "none" else []
        return ids if self.partitioned or self.unique != UNIQUE[0] else [*ids, "code"]

    @property
    def parts(self) -> list[str]:
        """Itself, and its partitions."""
        parts = [f"{self.name}_low", f"{self.name}_high"] if self.partitioned else []
        return [self.name, *parts]

    @property
    def kids(self) -> list[str]:
        return [f"{self.name}_kid"] if self.inherited else []

    @property
    def all_names(self) -> list[str]:
        return [*self.parts, *self.kids]


@st.composite
def schemas(draw: st.DrawFn) -> tuple[list[Made], list[str]]:
    """Tables, and the statements that make them."""
    number = st.integers(1, 5)
    tables = []
    for name in NAMES[: draw(st.integers(2, 4))]:
        key = draw(st.sampled_from(["primary", "primary", "unique", "none"]))
        partitioned = key == "primary" and draw(st.integers(0, 2)) == 0
        unique = draw(st.sampled_from(UNIQUE if draw(st.booleans()) else UNIQUE[:1]))
        inherited = not partitioned and draw(st.integers(0, 2)) == 0
        hidden = draw(st.integers(0, 4)) == 0
        refs = st.tuples(number, st.none() | number, st.none() | number)
        rows = draw(st.lists(refs, min_size=1, max_size=5, unique_by=lambda row: row[0]))
        tables.append(Made(name, key, partitioned, unique, inherited, hidden, tuple(rows)))
    made = [HELPERS]
    for table in tables:
        made += _table(table)
    keys = [draw(_keys(tables, place)) for place in range(draw(st.integers(1, 4)))]
    # all before the first key: an update would check one that is not valid
    made += [statement for emptied, _ in keys for statement in emptied]
    made += [statement for _, added in keys for statement in added]
    for place in range(draw(st.integers(0, 3))):
        made += draw(_reactions(tables, place))
    made.append(f"CREATE VIEW seen AS SELECT * FROM {tables[0].name}")
    return tables, made


def _table(table: Made) -> list[str]:
    identity = {"primary": "PRIMARY KEY", "unique": "UNIQUE", "none": ""}[table.key]
    unique = "" if table.partitioned else f", {table.unique}"
    made = [
        f"CREATE TABLE {table.name} (id int {identity}, code int, up int DEFAULT 1, over int,"
        f" v text{unique})" + (" PARTITION BY RANGE (id)" if table.partitioned else "")
    ]
    if table.partitioned:
        made += [
            (
                f"CREATE TABLE {table.name}_low PARTITION OF {table.name}"
                " FOR VALUES FROM (MINVALUE) TO (3)"
            ),
            f"CREATE TABLE {table.name}_high PARTITION OF {table.name} DEFAULT",
        ]
    values = ", ".join(
        f"({id}, {id}, {up or 'NULL'}, {over or 'NULL'}, 'v{id}')" for id, up, over in table.rows
    )
    made.append(f"INSERT INTO {table.name} VALUES {values}")
    for kid in table.kids:
        made += [
            f"CREATE TABLE {kid} ({table.unique}) INHERITS ({table.name})",
            f"INSERT INTO {kid} SELECT id, code, up, over, 'kid' FROM {table.name}",
        ]
    if table.hidden:
        made += [
            f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY nobody ON {table.name} USING (false)",
        ]
    return made


@st.composite
def _keys(draw: st.DrawFn, tables: list[Made], place: int) -> tuple[list[str], list[str]]:
    """What takes away the rows that a key would refuse, and what adds it."""
    child = draw(st.sampled_from(tables))
    parents = [table for table in tables if table.targets]
    if not parents:
        return [], []
    parent = draw(st.sampled_from(parents))
    name = draw(st.sampled_from(child.all_names))
    target = draw(st.sampled_from(parent.targets))
    # PostgreSQL makes no key from a partitioned table to a partition of its own
    whole = target != "id" or parent == child
    to = parent.name if whole else draw(st.sampled_from(parent.parts))
    column = draw(st.sampled_from(["up", "over"]))
    late = draw(st.sampled_from(["", "", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"]))
    only = to if parent.partitioned else f"ONLY {to}"
    dangling = f"{column} NOT IN (SELECT {target} FROM {only} WHERE {target} IS NOT NULL)"
    valid = "NOT VALID" if not child.partitioned and draw(st.integers(0, 9)) == 0 else ""
    emptied = [] if valid else [f"UPDATE {name} SET {column} = NULL WHERE {dangling}"]
    added = [
        "SET CONSTRAINTS ALL IMMEDIATE",
        (
            f"ALTER TABLE {name} ADD CONSTRAINT k{place} FOREIGN KEY ({column}) REFERENCES {to}"
            f" ({target}) ON DELETE {draw(st.sampled_from(ACTIONS))}"
            f" ON UPDATE {draw(st.sampled_from(ACTIONS))} {late} {valid}"
        ),
        f"COMMENT ON CONSTRAINT k{place} ON {name} IS 'key {place}'",
    ]
    return emptied, added


@st.composite
def _reactions(draw: st.DrawFn, tables: list[Made], place: int) -> list[str]:
    table = draw(st.sampled_from(tables))
    name = draw(st.sampled_from(table.all_names))
    state = draw(st.sampled_from(STATES))
    event = draw(st.sampled_from(["INSERT", "UPDATE", "DELETE", "INSERT OR UPDATE OR DELETE"]))
    if draw(st.integers(0, 2)) == 0:
        return [
            (
                f"CREATE RULE r{place} AS ON {event.split()[0]} TO {name} DO ALSO"
                " UPDATE balance SET amount = amount - 1"
            ),
            f"ALTER TABLE {name} {state} RULE r{place}",
        ]
    each = draw(st.sampled_from(["ROW", "STATEMENT"]))
    made = [
        f"CREATE TRIGGER t{place} AFTER {event} ON {name} FOR EACH {each} EXECUTE FUNCTION react()",
        f"ALTER TABLE {name} {state} TRIGGER t{place}",
    ]
    if each == "ROW" and table.partitioned and name == table.name and draw(st.booleans()):
        other = draw(st.sampled_from(STATES))
        made.append(
            f"ALTER TABLE {draw(st.sampled_from(table.parts[1:]))} {other} TRIGGER t{place}"
        )
    return made


@st.composite
def changes(draw: st.DrawFn, tables: list[Made]) -> list[str]:
    """What an application and its people do afterwards; some of it fails, as it does in life."""
    number = st.integers(1, 7)
    made = []
    for _ in range(draw(st.integers(2, 8))):
        table = draw(st.sampled_from(tables))
        name = draw(st.sampled_from([table.name, table.name, *table.kids]))
        n, m = draw(number), draw(number)
        made.append(
            draw(
                st.sampled_from(
                    [
                        f"INSERT INTO {name} VALUES ({n}, {n}, NULL, {m}, 'later')",
                        f"INSERT INTO {name} VALUES ({n}, {n}, {m}, {m}, 'later')",
                        f"INSERT INTO {name} VALUES ({n}, {m}, {m}, NULL, 'later')",
                        f"DELETE FROM {name} WHERE id = {n}",
                        f"DELETE FROM {name} WHERE id <> {n}",
                        f"UPDATE {name} SET v = 'other' WHERE id = {n}",
                        f"UPDATE {name} SET up = {m} WHERE id = {n}",
                        f"UPDATE {name} SET up = {m}, over = {m} WHERE id = {n}",
                        f"UPDATE {name} SET id = {m} WHERE id = {n}",
                        f"UPDATE {name} SET code = {m} WHERE id = {n}",
                        (
                            f"UPDATE {name} SET code = -code WHERE code > 0;"
                            f" UPDATE {name} SET code = 8 + code WHERE code < 0"
                        ),
                        _exchanged(name, "code", n, m),
                        _exchanged(name, "id", n, m),
                        f"TRUNCATE {name} CASCADE",
                        f"ALTER TABLE {name} DISABLE TRIGGER USER",
                        f"ALTER TABLE {table.name} ADD COLUMN more int DEFAULT {MORE}",
                        f"UPDATE {name} SET more = {n} WHERE id >= {n}",
                        f"DROP TABLE {draw(st.sampled_from(table.all_names))} CASCADE",
                    ]
                )
            )
        )
    if draw(st.integers(0, 39)) == 0:
        name = draw(st.sampled_from(tables)).name
        made.append(
            f"ALTER TABLE {name} RENAME TO people;"
            f" CREATE VIEW {name} AS SELECT id, code, up, over, v FROM people"
        )
    return made


def _exchanged(name: str, column: str, n: int, m: int) -> str:
    return (
        f"UPDATE {name} SET {column} = -{column} WHERE {column} IN ({n}, {m});"
        f" UPDATE {name} SET {column} = {n} + {m} + {column} WHERE {column} IN (-{n}, -{m})"
    )


def run(connection: psycopg.Connection, statements: list[str]) -> None:
    """Each by itself; what the database refuses did not happen."""
    for statement in statements:
        try:
            with connection.transaction():
                connection.execute(statement)
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error:
            continue


_CATALOG = """
SELECT 'key', conrelid::regclass::text, conname, concat_ws(' ', confrelid::regclass,
       pg_get_constraintdef(k.oid), convalidated, conislocal, coninhcount, conparentid <> 0,
       obj_description(k.oid, 'pg_constraint')), confrelid::regclass::text
FROM pg_constraint k WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, coalesce(conname, tgname),
       concat_ws(' ', tgparentid <> 0, tgenabled, tgtype, tgdeferrable, tginitdeferred),
       CASE WHEN tgrelid = conrelid THEN confrelid ELSE conrelid END::regclass::text
FROM pg_trigger LEFT JOIN pg_constraint k ON k.oid = tgconstraint AND tgisinternal
UNION ALL
SELECT 'rule', ev_class::regclass::text, rulename, ev_enabled::text, NULL FROM pg_rewrite
WHERE ev_class >= 16384
UNION ALL
SELECT 'relation', c.oid::regclass::text, relkind::text,
       concat_ws(' ', relacl, relfilenode, relrowsecurity, relforcerowsecurity), NULL
FROM pg_class c WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text,
       concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisready, indimmediate), NULL
FROM pg_index JOIN pg_class c ON c.oid = indrelid AND relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', attrelid::regclass::text, attname,
       concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attislocal,
                 attinhcount, pg_get_expr(adbin, adrelid)), NULL
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid AND relnamespace = 'public'::regnamespace
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0
UNION ALL
SELECT 'parent', inhrelid::regclass::text, inhparent::regclass::text,
       pg_get_expr(relpartbound, inhrelid), NULL
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE relkind IN ('r', 'p')
UNION ALL
SELECT 'policy', polrelid::regclass::text, polname, pg_get_expr(polqual, polrelid), NULL
FROM pg_policy
UNION ALL
SELECT 'sequence', sequencename, '', last_value::text, NULL FROM pg_sequences
ORDER BY 1, 2, 3, 4"""


@dataclasses.dataclass(frozen=True)
class Thing:
    """Something that belongs to a relation; ``other``: the one at the other end of its key."""

    kind: str
    relation: str
    name: str
    state: str
    other: str | None


def catalog(connection: psycopg.Connection) -> list[Thing]:
    """Constraints, triggers, rules, relations and whatever else, with every state they have."""
    return [Thing(*found) for found in connection.execute(_CATALOG).fetchall()]


def without(things: Iterable[Thing], names: set[str]) -> list[Thing]:
    """What has nothing to do with these tables, their keys and indexes."""
    begins = tuple(f"{name}_" for name in names)
    return [
        thing
        for thing in things
        if not {thing.relation, thing.other} & names and not thing.relation.startswith(begins)
    ]


_DEFINED = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = ANY(%(oids)s) AND conparentid = 0 AND contype <> 'n'
UNION ALL
SELECT tgrelid::regclass::text, tgname, concat_ws(' ', tgenabled, pg_get_triggerdef(oid))
FROM pg_trigger WHERE tgrelid = ANY(%(oids)s) AND NOT tgisinternal
UNION ALL
SELECT ev_class::regclass::text, rulename, concat_ws(' ', ev_enabled, pg_get_ruledef(oid))
FROM pg_rewrite WHERE ev_class = ANY(%(oids)s)
UNION ALL
SELECT indrelid::regclass::text, indexrelid::regclass::text,
       concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indimmediate)
FROM pg_index WHERE indrelid = ANY(%(oids)s)
UNION ALL
SELECT attrelid::regclass::text, attname, concat_ws(' ', format_type(atttypid, atttypmod),
       attnotnull, pg_get_expr(adbin, adrelid))
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = ANY(%(oids)s) AND attnum > 0 AND attname <> 'more'
UNION ALL
SELECT inhrelid::regclass::text, inhparent::regclass::text, pg_get_expr(relpartbound, inhrelid)
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhrelid = ANY(%(oids)s)
UNION ALL
SELECT oid::regclass::text, relkind::text, concat_ws(' ', relacl, relowner::regrole,
       relrowsecurity, relforcerowsecurity) FROM pg_class WHERE oid = ANY(%(oids)s)
UNION ALL
SELECT polrelid::regclass::text, polname, pg_get_expr(polqual, polrelid)
FROM pg_policy WHERE polrelid = ANY(%(oids)s)
ORDER BY 1, 2, 3"""


def defined(connection: psycopg.Connection, names: set[str]) -> list[tuple]:
    """All that the definition of these tables says, without what came since."""
    query = "SELECT n::regclass::oid FROM unnest(%s::text[]) n"
    oids = [oid for (oid,) in connection.execute(query, (sorted(names),))]
    return connection.execute(_DEFINED, {"oids": oids}).fetchall()


Rows = dict[str, list[tuple[str, str, str]]]
_LEAVES = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"""


def rows(connection: psycopg.Connection) -> Rows:
    """Of each table that holds rows: their text, place and birth, so that a row that was only
    rewritten shows.
    """
    names = [name for (name,) in connection.execute(_LEAVES)]
    found: Rows = {name: [] for name in names}
    query = " UNION ALL ".join(
        f"SELECT '{name}', t::text, ctid::text, xmin::text FROM ONLY {name} t" for name in names
    )
    for name, *row in connection.execute(query + " ORDER BY 1, 2, 3"):
        found[name].append(tuple(row))
    return found


def whole(found: Rows) -> dict[str, list[str]]:
    """Their content alone."""
    return {name: sorted(row[0] for row in rows) for name, rows in found.items()}


def texts(found: Rows) -> dict[str, list[str]]:
    """The same without what came since the backup."""
    return {
        name: sorted(",".join(cells(row)[:5]) for row in rows)
        for name, rows in whole(found).items()
    }


def cells(row: str) -> list[str]:
    """The columns of a row's text."""
    return row.removeprefix("(").removesuffix(")").split(",")


def added_right(before: list[str], after: list[str], keyed: bool) -> bool:
    """Whether ``more`` holds what it held, by key, and its default in rows that came back."""
    if keyed:
        was = {cells(row)[0]: cells(row)[5:] for row in before}
        return all(cells(row)[5:] in (was.get(cells(row)[0]), [MORE], []) for row in after) and all(
            cells(row)[5:] == was[cells(row)[0]] for row in after if cells(row)[0] in was
        )
    came = Counter(after) - Counter(before)
    return all(cells(row)[5:] in ([MORE], []) for row in came)


_KEYS = """
SELECT conrelid::regclass::text, confrelid::regclass::text, c.attname, p.attname, convalidated,
       conname
FROM pg_constraint JOIN pg_attribute c ON c.attrelid = conrelid AND c.attnum = conkey[1]
JOIN pg_attribute p ON p.attrelid = confrelid AND p.attnum = confkey[1]
WHERE contype = 'f' AND conparentid = 0"""
_COLUMNS = ("id", "code", "up", "over")


@dataclasses.dataclass(frozen=True)
class Key:
    """A foreign key; ``parts``: the tables that hold the rows of its ends."""

    child: str
    parent: str
    column: str
    target: str
    validated: bool
    name: str
    parts: dict[str, set[str]] = dataclasses.field(compare=False)


def keys(connection: psycopg.Connection) -> list[Key]:
    """All foreign keys."""

    def leaves(table: str) -> set[str]:
        # asked, for a partitioned table may have another name than its partitions by now
        tree = connection.execute(
            "SELECT relid::regclass::text FROM pg_partition_tree(%s)", (table,)
        )
        return {table, *(leaf for (leaf,) in tree)}

    found = connection.execute(_KEYS).fetchall()
    return [Key(*key, {end: leaves(end) for end in key[:2]}) for key in found]


def misfits(found: Iterable[Key], content: dict[str, list[str]]) -> tuple[int, int]:
    """How many rows of such a content would refer to nothing, by the keys that are validated, and
    by those that are not.
    """

    def column(key: Key, table: str, name: str) -> list[str]:
        place = _COLUMNS.index(name)
        leaves = content.keys() & key.parts[table]
        return [cells(row)[place] for leaf in leaves for row in content[leaf]]

    counts = [0, 0]
    for key in found:
        there = set(column(key, key.parent, key.target))
        lacking = [v for v in column(key, key.child, key.column) if v and v not in there]
        counts[not key.validated] += len(lacking)
    return counts[0], counts[1]
