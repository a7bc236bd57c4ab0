"""Random schemas, and what may happen to them after a backup: what the property test of repairs
draws from, and how it looks at a database.

Every table has the columns ``id``, ``code``, ``up``, ``over`` and ``v``; the keys go from ``up`` or
``over`` to an ``id`` or ``code``.
"""

from __future__ import annotations

import dataclasses

import psycopg
from hypothesis import strategies as st

NAMES = ("a", "b", "c", "d")
ACTIONS = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT")
STATES = ("ENABLE", "DISABLE", "ENABLE ALWAYS", "ENABLE REPLICA")
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
    """

    name: str
    key: str
    partitioned: bool
    rows: tuple[tuple[int, int | None, int | None], ...]

    @property
    def targets(self) -> list[str]:
        """Columns that a foreign key may refer to."""
        ids = ["id"] if self.key != "none" else []
        return ids if self.partitioned else [*ids, "code"]

    @property
    def all_names(self) -> list[str]:
        parts = [f"{self.name}_low", f"{self.name}_high"] if self.partitioned else []
        return [self.name, *parts]


@st.composite
def schemas(draw: st.DrawFn) -> tuple[list[Made], list[str]]:
    """Tables, and the statements that make them."""
    number = st.integers(1, 5)
    tables = []
    for name in NAMES[: draw(st.integers(2, 4))]:
        key = draw(st.sampled_from(["primary", "primary", "unique", "none"]))
        partitioned = key == "primary" and draw(st.integers(0, 2)) == 0
        refs = st.tuples(number, st.none() | number, st.none() | number)
        rows = draw(st.lists(refs, min_size=1, max_size=5, unique_by=lambda row: row[0]))
        tables.append(Made(name, key, partitioned, tuple(rows)))
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
    unique = "" if table.partitioned else "UNIQUE"
    made = [
        f"CREATE TABLE {table.name} (id int {identity}, code int {unique}, up int DEFAULT 1,"
        f" over int, v text)" + (" PARTITION BY RANGE (id)" if table.partitioned else "")
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
    return [*made, f"INSERT INTO {table.name} VALUES {values}"]


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
    to = parent.name if whole else draw(st.sampled_from(parent.all_names))
    column = draw(st.sampled_from(["up", "over"]))
    late = draw(st.sampled_from(["", "", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"]))
    dangling = f"{column} NOT IN (SELECT {target} FROM {to} WHERE {target} IS NOT NULL)"
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
    if each == "ROW" and len(table.all_names) > 1 and name == table.name and draw(st.booleans()):
        other = draw(st.sampled_from(STATES))
        made.append(
            f"ALTER TABLE {draw(st.sampled_from(table.all_names[1:]))} {other} TRIGGER t{place}"
        )
    return made


@st.composite
def changes(draw: st.DrawFn, tables: list[Made]) -> list[str]:
    """What an application and its people do afterwards; some of it fails, as it does in life."""
    number = st.integers(1, 7)
    made = []
    for _ in range(draw(st.integers(2, 8))):
        table = draw(st.sampled_from(tables))
        n, m = draw(number), draw(number)
        made.append(
            draw(
                st.sampled_from(
                    [
                        f"INSERT INTO {table.name} VALUES ({n}, {n}, NULL, {m}, 'later')",
                        f"INSERT INTO {table.name} VALUES ({n}, {n}, {m}, {m}, 'later')",
                        f"INSERT INTO {table.name} VALUES ({n}, {m}, {m}, NULL, 'later')",
                        f"DELETE FROM {table.name} WHERE id = {n}",
                        f"DELETE FROM {table.name} WHERE id <> {n}",
                        f"UPDATE {table.name} SET v = 'other' WHERE id = {n}",
                        f"UPDATE {table.name} SET up = {m} WHERE id = {n}",
                        f"UPDATE {table.name} SET up = {m}, over = {m} WHERE id = {n}",
                        f"UPDATE {table.name} SET id = {m} WHERE id = {n}",
                        f"UPDATE {table.name} SET code = {m} WHERE id = {n}",
                        (
                            f"UPDATE {table.name} SET code = -code WHERE code > 0;"
                            f" UPDATE {table.name} SET code = 8 + code WHERE code < 0"
                        ),
                        f"TRUNCATE {table.name} CASCADE",
                        f"ALTER TABLE {table.name} DISABLE TRIGGER USER",
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
       obj_description(k.oid, 'pg_constraint'))
FROM pg_constraint k WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text,
       CASE WHEN tgisinternal THEN (SELECT conname FROM pg_constraint WHERE oid = tgconstraint)
       ELSE tgname END,
       concat_ws(' ', tgparentid <> 0, tgenabled, tgtype, tgdeferrable, tginitdeferred)
FROM pg_trigger
UNION ALL
SELECT 'rule', ev_class::regclass::text, rulename, ev_enabled::text FROM pg_rewrite
WHERE ev_class >= 16384
UNION ALL
SELECT 'relation', c.oid::regclass::text, relkind::text,
       concat_ws(' ', relacl, relfilenode, relhastriggers, relhasrules)
FROM pg_class c WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'sequence', sequencename, '', last_value::text FROM pg_sequences
ORDER BY 1, 2, 3, 4"""


def catalog(connection: psycopg.Connection) -> list[tuple]:
    """Constraints, triggers, rules and relations, with every state that they have."""
    return connection.execute(_CATALOG).fetchall()


_LEAVES = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"""


def rows(connection: psycopg.Connection) -> dict[str, list[tuple[str, str, str]]]:
    """Of each table that holds rows: their text, place and birth, so that a row that was only
    rewritten shows.
    """
    names = [name for (name,) in connection.execute(_LEAVES)]
    found: dict[str, list[tuple[str, str, str]]] = {name: [] for name in names}
    query = " UNION ALL ".join(
        f"SELECT '{name}', t::text, ctid::text, xmin::text FROM ONLY {name} t" for name in names
    )
    for name, *row in connection.execute(query + " ORDER BY 1, 2, 3"):
        found[name].append(tuple(row))
    return found


def texts(found: dict[str, list[tuple[str, str, str]]]) -> dict[str, list[str]]:
    """Their content alone."""
    return {name: sorted(row[0] for row in rows) for name, rows in found.items()}


_KEYS = """
SELECT conrelid::regclass::text, confrelid::regclass::text, c.attname, p.attname, convalidated
FROM pg_constraint JOIN pg_attribute c ON c.attrelid = conrelid AND c.attnum = conkey[1]
JOIN pg_attribute p ON p.attrelid = confrelid AND p.attnum = confkey[1]
WHERE contype = 'f' AND conparentid = 0"""
_COLUMNS = ("id", "code", "up", "over")


def misfits(connection: psycopg.Connection, content: dict[str, list[str]]) -> tuple[int, int]:
    """How many rows of such a content would refer to nothing, by the keys of a live database that
    are validated, and by those that are not.
    """

    def column(table: str, name: str) -> list[str]:
        place = _COLUMNS.index(name)
        # asked, for a partitioned table may have another name than its partitions by now
        tree = connection.execute(
            "SELECT relid::regclass::text FROM pg_partition_tree(%s)", (table,)
        )
        leaves = content.keys() & {table, *(leaf for (leaf,) in tree)}
        return [row.strip("()").split(",")[place] for leaf in leaves for row in content[leaf]]

    counts = [0, 0]
    for child, parent, name, target, validated in connection.execute(_KEYS):
        there = set(column(parent, target))
        lacking = [value for value in column(child, name) if value and value not in there]
        counts[not validated] += len(lacking)
    return counts[0], counts[1]
