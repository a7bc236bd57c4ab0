"""Odd databases: what the property test of round trips draws from.

Each piece says some statements, about what earlier pieces made too. What the server refuses, or
what refers to something that it had refused, was not made: nothing here knows all the rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import psycopg
from hypothesis import assume
from hypothesis import strategies as st
from psycopg.pq import ExecStatus

from demo.postgres_server import PostgresServer

#: identifiers as they are; each database has some of them
NAMES = (
    "plain",
    "MiXed Case",
    'quo"te',
    "sing'le",
    "select",
    "user",
    "back\\slash",
    "line\nfeed",
    "tab\there",
    "$dollar$",
    "100%",
    "{brace}",
    "-- comment",
    "semi;colon",
    "/* open",
    ":variable",
    "\\.",
    "né",
    "Жук",
    "日本",
    "🐘",
    "x" * 63,
    " ",
    "1st",
    "a.b",
)
TEXTS = (
    "",
    "plain",
    "it's",
    "back\\slash",
    "\\.",
    "\\N",
    "line\nfeed",
    "carriage\r\nreturn",
    "tab\t",
    "$$ $_$",
    "-- no comment;",
    "/* open",
    "né Жук 日本 🐘",
    "\x01\x7f",
    "NULL",
    "COPY t FROM stdin;",
    "\\connect other",
    "%s {} :a :'b'",
)
DATABASE_NAMES = ("trip", "Trip Two", 'tri\'p "3"', "-trip", "né", "trip=four dbname=x", "t" * 63)
#: options of CREATE DATABASE; what a server does not know it refuses, and gets the first
DATABASES = (
    "ENCODING 'UTF8' LOCALE 'C.UTF-8'",
    "ENCODING 'UTF8' LOCALE 'C'",
    "ENCODING 'SQL_ASCII' LOCALE 'C'",
    "ENCODING 'LATIN1' LOCALE 'C'",
    "ENCODING 'WIN1251' LOCALE 'C'",
    "ENCODING 'EUC_JP' LOCALE 'C'",
    "ENCODING 'EUC_TW' LOCALE 'C'",
    "ENCODING 'MULE_INTERNAL' LOCALE 'C'",
    "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' CONNECTION LIMIT 17",
    "ENCODING 'UTF8' LOCALE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'",
    "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und'",
    "ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
    "ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST'",
)
SETTINGS = (
    "search_path TO {schema}, public",
    "search_path TO ''",
    "datestyle TO 'SQL, DMY'",
    "intervalstyle TO sql_standard",
    "timezone TO 'Asia/Kathmandu'",
    "bytea_output TO escape",
    "extra_float_digits TO -3",
    "client_encoding TO 'LATIN1'",
    "default_transaction_read_only TO on",
    "default_transaction_isolation TO 'serializable'",
    "standard_conforming_strings TO off",
    "quote_all_identifiers TO on",
    "row_security TO off",
    "check_function_bodies TO off",
    "statement_timeout TO '2min'",
    "lc_monetary TO 'C'",
    "xmloption TO document",
    "default_with_oids TO off",
    "array_nulls TO off",
    "transform_null_equals TO on",
    "default_table_access_method TO heap",
    "default_toast_compression TO lz4",
    "session_replication_role TO replica",
    "app.tenant TO {text}",
    'app."{name}" TO {text}',
    "work_mem TO '7MB'",
    "plpgsql.extra_warnings TO 'all'",
    "role TO {role}",
)
#: a type -> values of it
TYPES = {
    "integer": ("1", "-2147483648", "NULL"),
    "bigint": ("9223372036854775807", "0"),
    "smallint": ("7", "NULL"),
    "numeric(12,3)": ("1.500", "'NaN'", "-0.001"),
    "numeric": ("1e-40", "'Infinity'", "12345678901234567890.0"),
    "real": ("0.1", "'-0'", "'NaN'", "3.4e38"),
    "double precision": ("0.1::float8 + 0.2", "'-Infinity'", "5e-324"),
    "boolean": ("true", "NULL"),
    "text": (),
    "varchar(40)": (),
    "character(9)": ("'a'", "'b  '"),
    '"char"': ("'x'", "''"),
    "name": (),
    "bytea": (r"'\x00ff5c'", r"'\x'", "'a'"),
    "bit(5)": ("B'10101'",),
    "bit varying": ("B''", "B'1'"),
    "date": ("'infinity'", "'4713-01-01 BC'", "'2024-02-29'"),
    "time with time zone": ("'24:00:00+05:45'", "'01:02:03.000004-15:59'"),
    "timestamp(3)": ("'1999-12-31 23:59:59.999'", "'-infinity'"),
    "timestamp with time zone": ("'2026-03-29 02:30:00+01'", "'infinity'", "'0044-03-15 BC'"),
    "interval": ("'1 mon -2 days 3h'", "'-0.000001s'"),
    "interval day to second(2)": ("'3 days 1.255'",),
    "uuid": ("'00000000-0000-0000-0000-000000000001'",),
    "json": ("""'{"a" :  1,"a":2}'""", "'null'"),
    "jsonb": ("""'{"b": [1.0, "\\u00e9"]}'""",),
    "xml": ("'<a>&amp;</a>'", "'text'"),
    "inet": ("'::1/64'", "'10.0.0.1/8'"),
    "macaddr8": ("'08:00:2b:01:02:03:04:05'",),
    "money": ("'-12.34'",),
    "point": ("'(1e-10,2)'",),
    "polygon": ("'((0,0),(1,1),(2,0))'",),
    "int4range": ("'[1,5)'", "'empty'", "'(,)'"),
    "datemultirange": ("'{[2024-01-01,2024-02-01)}'", "'{}'"),
    "tsvector": ("'a:1A b:2'", "'''sp ace'' ''it''''s'''"),
    "tsquery": ("'a & !b:*'",),
    "text[]": ("""'{"a b",NULL,"NULL","\\"\\\\\\\\",{}}'""", "ARRAY[['x','y'],['z',NULL]]", "'{}'"),
    "int4[]": ("'[2:3]={1,2}'", "'{}'"),
    "oid": ("4294967295", "0"),
    "pg_lsn": ("'16/B374D848'",),
    "regtype": ("'integer'",),
    "regclass": ("'pg_class'",),
    "regrole": ("'postgres'",),
    "xid8": ("'42'",),
    "jsonpath": ("'$.a[*] ? (@ > 1)'",),
}
EXTENSIONS = ("vector", "hstore", "citext", "pg_trgm", "ltree", "btree_gist", "cube", "isn", "lo",
              "earthdistance", "postgres_fdw", "file_fdw", "unaccent", "dict_xsyn", "tablefunc",
              "uuid-ossp", "bloom", "pgcrypto", "intarray", "pg_stat_statements", "seg", "xml2",
              "tsm_system_rows", "tcn", "dblink", "fuzzystrmatch", "btree_gin")  # fmt: skip
EXTENSION_TYPES = {
    "vector": ("vector(3)", "'[1,2.5,-3]'"),
    "hstore": ("hstore", """'"a b"=>"c\\"", x=>NULL'"""),
    "citext": ("citext", "'CaSe'"),
    "ltree": ("ltree", "'a.b_c.d'"),
    "cube": ("cube", "'(1,2),(3,4)'"),
    "isn": ("isbn13", "'978-0-393-04002-9'"),
    "seg": ("seg", "'1.50 .. 2e3'"),
    "lo": ("lo", "7"),
}


_TAGS = "WHEN TAG IN ('CREATE TABLE', 'DROP VIEW')"


def ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    kind: str
    values: tuple[str, ...]
    written: bool = True  # not generated


@dataclasses.dataclass
class Table:
    name: str
    columns: list[Column]
    kind: str = "r"


@dataclasses.dataclass(frozen=True)
class Random:
    """A database to be made: its name, options, statements by which it is set and filled, and what
    happens to it later.
    """

    name: str
    options: str
    settings: tuple[str, ...]
    filled: tuple[str, ...]
    damage: tuple[str, ...]


class Pieces:
    """Draws piece by piece; remembers what could be there.

    :ivar said: the statements.
    """

    def __init__(
        self, draw: st.DrawFn, names: Sequence[str], texts: Sequence[str], roles: Sequence[str]
    ) -> None:
        self._draw, self._names, self.texts = draw, names, texts
        self.roles = [ident(role) for role in roles]
        self._count = 0
        self.said: list[str] = []
        self.schemas = ["public"]
        self.kinds: dict[str, tuple[str, ...]] = dict(TYPES)
        self.own_kinds: list[str] = []
        self.tables: list[Table] = []
        self.views: list[str] = []
        self.functions: list[str] = []
        self.collations = ['pg_catalog."C"']
        self.extensions: list[str] = []

    # what is drawn

    def one(self, *choices: str) -> str:
        return self._draw(st.sampled_from(choices))

    def maybe(self, text: str, of: int = 2) -> str:
        """``text``, once in so many times; simpler without."""
        return text if self.number(of) == of else ""

    def number(self, last: int) -> int:
        return self._draw(st.integers(1, last))

    def fresh(self) -> str:
        """A name that is not there yet, as an identifier."""
        self._count += 1
        name = self.one(*self._names)
        return ident(name[: 60 if name.isascii() else 12] + str(self._count))

    def placed(self) -> str:
        return f"{self.one(*self.schemas)}.{self.fresh()}"

    def text(self) -> str:
        return literal(self.one(*self.texts))

    def role(self) -> str:
        return self.one(*self.roles)

    def table(self, kinds: str = "rp") -> Table:
        """One that is there, or a first one."""
        known = [table for table in self.tables if table.kind in kinds]
        if not known:
            self.make_table()
            known = self.tables[-1:]
        return self._draw(st.sampled_from(known))

    def column(self, table: Table) -> Column:
        return self._draw(st.sampled_from(table.columns))

    def kind(self) -> str:
        if self.own_kinds and self.number(2) == 2:
            return self.one(*self.own_kinds)
        return self.one(*self.kinds)

    def value(self, kind: str) -> str:
        values = self.kinds.get(kind, ())
        return self.one(*values) if values else self.text()

    def say(self, *statements: str) -> None:
        self.said += statements

    def remark(self, what: str, owned: bool = True) -> None:
        """Perhaps a comment, another owner."""
        if self.number(3) == 3:
            self.say(f"COMMENT ON {what} IS {self.text()}")
        if owned and self.number(5) == 5:
            self.say(f"ALTER {what} OWNER TO {self.role()}")

    # the pieces

    def make_schema(self) -> None:
        name = self.fresh()
        self.say(f"CREATE SCHEMA {name} {self.maybe('AUTHORIZATION ' + self.role())}")
        self.remark(f"SCHEMA {name}")
        self.say(f"GRANT {self.one('ALL', 'USAGE')} ON SCHEMA {name} TO {self.role()}")
        self.schemas.append(name)

    def make_public(self) -> None:
        self.say(
            self.one(
                "DROP SCHEMA public CASCADE",
                f"ALTER SCHEMA public OWNER TO {self.role()}",
                f"COMMENT ON SCHEMA public IS {self.text()}",
                "COMMENT ON SCHEMA public IS NULL",
                "REVOKE ALL ON SCHEMA public FROM PUBLIC",
                f"GRANT CREATE ON SCHEMA public TO {self.role()} WITH GRANT OPTION",
            )
        )

    def make_type(self) -> None:
        name, base = self.placed(), self.kind()
        which = self.number(6)
        values: tuple[str, ...] = ("NULL",)
        if which == 1:
            labels = [self.one(*self.texts)[:20] or "x" for _ in range(3)]
            values = tuple({literal(label): 0 for label in labels})
            self.say(f"CREATE TYPE {name} AS ENUM ({', '.join(values)})")
            self.say(f"ALTER TYPE {name} ADD VALUE 'zero' BEFORE {values[0]}")
        elif which == 2:
            other = self.kind()
            fields = f"{self.fresh()} {base}, {self.fresh()} {other}"
            values = (f"ROW({self.value(base)}, {self.value(other)})", "NULL")
            self.say(f"CREATE TYPE {name} AS ({fields})")
        elif which == 3:
            multirange = self.maybe(f", MULTIRANGE_TYPE_NAME = {self.placed()}")
            self.say(f"CREATE TYPE {name} AS RANGE (SUBTYPE = {base}{multirange})")
            values = ("'empty'", "'(,)'")
        elif which == 4:
            start, end = f'{name[:-1]}_in"', f'{name[:-1]}_out"'
            self.say(
                f"CREATE TYPE {name}",
                f"CREATE FUNCTION {start}(cstring) RETURNS {name} LANGUAGE internal IMMUTABLE"
                " STRICT AS 'textin'",
                f"CREATE FUNCTION {end}({name}) RETURNS cstring LANGUAGE internal IMMUTABLE"
                " STRICT AS 'textout'",
                f"CREATE TYPE {name} (INPUT = {start}, OUTPUT = {end}, LIKE = text,"
                f" CATEGORY = 'U'{self.maybe(', DEFAULT = ' + self.text())})",
            )
            values = ()
        else:
            values = self.kinds.get(base, ())
            check = self.one("", f"DEFAULT {self.value(base)}", "NOT NULL",
                             f"CONSTRAINT {self.fresh()} CHECK (VALUE IS NOT NULL)",
                             f"COLLATE {self.one(*self.collations)}")  # fmt: skip
            self.say(f"CREATE DOMAIN {name} AS {base} {check}")
            if self.number(3) == 3:
                valid = self.fresh()
                self.say(
                    f"ALTER DOMAIN {name} ADD CONSTRAINT {valid} CHECK (VALUE::text <> 'no')"
                    " NOT VALID",
                    f"COMMENT ON CONSTRAINT {valid} ON DOMAIN {name} IS {self.text()}",
                )
        self.remark(f"TYPE {name}")
        self.say(self.maybe(f"REVOKE USAGE ON TYPE {name} FROM PUBLIC", 4))
        if values:
            self.own_kinds.append(name)
            self.kinds[name] = values
            if self.number(3) == 3:
                self.own_kinds.append(f"{name}[]")
                self.kinds[f"{name}[]"] = (f"ARRAY[{values[0]}]::{name}[]",)

    def _columns(self, number: int) -> tuple[list[Column], list[str]]:
        columns = [Column(self.fresh(), "integer", ())]
        identity = self.one("", "GENERATED ALWAYS AS IDENTITY (INCREMENT BY -3 CYCLE)",
                            "GENERATED BY DEFAULT AS IDENTITY", "NOT NULL", "PRIMARY KEY",
                            "UNIQUE", "DEFAULT 7", "PRIMARY KEY DEFERRABLE")  # fmt: skip
        written = [f"{columns[0].name} integer {identity}"]
        for _ in range(number):
            name, kind = self.fresh(), self.kind()
            if self.number(6) == 6:
                first = columns[0].name
                stored = self.one("STORED", "STORED", "VIRTUAL")
                columns.append(Column(name, "bigint", (), False))
                written.append(f"{name} bigint GENERATED ALWAYS AS ({first} * 2) {stored}")
                continue
            columns.append(Column(name, kind, self.kinds.get(kind, ())))
            more = self.one(
                "",
                "",
                f"DEFAULT {self.value(kind)}",
                f"COLLATE {self.one(*self.collations)}",
                f"CHECK ({name} IS NOT NULL OR {columns[0].name} > 0)",
                f"CONSTRAINT {self.fresh()} CHECK ({name} IS NOT NULL OR true) NO INHERIT",
                f"CHECK ({columns[0].name} <> 5) NOT ENFORCED",
                "NOT NULL",
                "COMPRESSION pglz",
                f"CONSTRAINT {self.fresh()} NOT NULL",
                "UNIQUE NULLS NOT DISTINCT",
            )
            written.append(f"{name} {kind} {more}")
        return columns, written

    def make_table(self) -> None:
        columns, written = self._columns(self.number(5) - 1)
        name = self.placed()
        more = self.one(
            "",
            "",
            "WITH (fillfactor = 70, autovacuum_enabled = off, toast.autovacuum_enabled = off)",
            f"WITH (user_catalog_table = true, parallel_workers = {self.number(9)})",
        )
        if self.tables and self.number(4) == 4:
            parent = self.table("r")
            more = f"INHERITS ({parent.name}) {more}"
            columns = [*parent.columns, *columns]
        kind = self.one("", "", "", "UNLOGGED")
        self.say(f"CREATE {kind} TABLE {name} ({', '.join(written)}) {more}")
        table = Table(name, columns)
        self.tables.append(table)
        self.remark(f"TABLE {name}")
        self._rows(table)

    def make_partitions(self) -> None:
        columns, written = self._columns(self.number(3) - 1)
        name, key = self.placed(), columns[0].name
        how = self.one("RANGE", "LIST", "HASH")
        bounds = {
            "RANGE": ["FROM (MINVALUE) TO (1)", "FROM (1) TO (100)"],
            "LIST": ["IN (1, 2, NULL)", "IN (3)"],
            "HASH": ["WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"],
        }[how]
        self.say(f"CREATE TABLE {name} ({', '.join(written)}) PARTITION BY {how} ({key})")
        self.tables.append(Table(name, columns, "p"))
        for bound in bounds:
            part = self.placed()
            sub = self.maybe(f"PARTITION BY LIST ({key})", 4)
            if self.number(3) == 3:  # its columns in another order
                turned = [f"{c.name} {c.kind}" for c in reversed(columns) if c.written]
                self.say(
                    f"CREATE TABLE {part} ({', '.join(turned)})",
                    f"ALTER TABLE {name} ATTACH PARTITION {part} FOR VALUES {bound}",
                )
            else:
                self.say(f"CREATE TABLE {part} PARTITION OF {name} FOR VALUES {bound} {sub}")
            if sub:
                self.say(f"CREATE TABLE {self.placed()} PARTITION OF {part} DEFAULT")
            self.tables.append(Table(part, columns, "part"))
        if how != "HASH":
            self.say(f"CREATE TABLE {self.placed()} PARTITION OF {name} DEFAULT")
        self.remark(f"TABLE {name}")
        self._rows(self.tables[-3])

    def _rows(self, table: Table) -> None:
        written = [column for column in table.columns if column.written]
        names = ", ".join(column.name for column in written)
        for number in range(self.number(3)):
            values = [str(number + 1)]
            values += [self.value(column.kind) for column in written[1:]]
            self.say(
                f"INSERT INTO {table.name} ({names}) OVERRIDING SYSTEM VALUE"
                f" VALUES ({', '.join(values)})"
            )

    def make_rows(self) -> None:
        self._rows(self.table())

    def make_change(self) -> None:
        """What ALTER TABLE leaves behind."""
        table, new = self.table(), self.fresh()
        column = self.column(table)
        one = f"ALTER TABLE {table.name}"
        kind = self.kind()
        self.say(
            self.one(
                f"{one} DROP COLUMN {column.name} CASCADE",
                f"{one} RENAME COLUMN {column.name} TO {new}",
                f"{one} ADD COLUMN {new} {kind} DEFAULT {self.value(kind)}",
                f"{one} ALTER COLUMN {column.name} TYPE text USING {column.name}::text",
                f"{one} ALTER COLUMN {column.name} SET STORAGE EXTERNAL",
                f"{one} ALTER COLUMN {column.name} SET STATISTICS 77",
                f"{one} ALTER COLUMN {column.name} SET (n_distinct = -0.5)",
                f"{one} REPLICA IDENTITY {self.one('FULL', 'NOTHING')}",
                f"{one} SET UNLOGGED",
                f"{one} SET SCHEMA {self.one(*self.schemas)}",
                f"{one} ADD CHECK ({column.name} IS NOT NULL) NOT VALID",
                f"{one} ADD CONSTRAINT {new} NOT NULL {column.name} NOT VALID",
                f"{one} ALTER COLUMN {column.name} SET NOT NULL",
                f"{one} ALTER COLUMN {column.name} DROP DEFAULT",
            )
        )
        self.say(f"COMMENT ON COLUMN {table.name}.{column.name} IS {self.text()}")

    def make_index(self) -> None:
        table, name = self.table("rp"), self.fresh()
        column = self.column(table).name
        on = f"INDEX {name} ON {table.name}"
        self.say(
            self.one(
                f"CREATE {on} ({column} DESC NULLS LAST) WITH (fillfactor = 60)",
                f"CREATE UNIQUE {on} ({column}) NULLS NOT DISTINCT",
                f"CREATE UNIQUE {on} ({column}) INCLUDE ({self.column(table).name})",
                f"CREATE {on} USING hash ({column})",
                f"CREATE {on} USING brin ({column}) WITH (pages_per_range = 3)",
                f"CREATE {on} USING gin ({column})",
                f"CREATE {on} USING gist ({column})",
                f"CREATE {on} (({column}::text || {self.text()}))",
                f"CREATE {on} ({column} COLLATE {self.one(*self.collations)} text_pattern_ops)",
                f"CREATE {on} ({column}) WHERE {column}::text <> {self.text()}",
                f"CREATE {on} ((lower({column}::text)), {column})",
                f"CREATE INDEX {name} ON ONLY {table.name} ({column})",
                f"ALTER TABLE {table.name} ADD CONSTRAINT {name} EXCLUDE USING btree"
                f" ({column} WITH =) WHERE ({column} IS NOT NULL) DEFERRABLE INITIALLY DEFERRED",
                f"CREATE STATISTICS {name} (ndistinct, mcv) ON {column},"
                f" {self.column(table).name} FROM {table.name}",
                f"CREATE STATISTICS {name} ON ({column}::text || 'x') FROM {table.name}",
            )
        )
        place = f"{table.name.rpartition('.')[0] if '.' in table.name else 'public'}.{name}"
        self.say(
            self.one(
                f"ALTER TABLE {table.name} CLUSTER ON {name}",
                f"ALTER TABLE {table.name} REPLICA IDENTITY USING INDEX {name}",
                f"COMMENT ON INDEX {place} IS {self.text()}",
                f"ALTER INDEX {place} ALTER COLUMN 1 SET STATISTICS 99",
                f"ALTER TABLE {table.name} ADD CONSTRAINT {self.fresh()} UNIQUE USING INDEX {name}",
                f"ALTER STATISTICS {name} SET STATISTICS 5",
            )
        )

    def make_key(self) -> None:
        """A foreign key, to itself, to another, around in a circle."""
        child, parent = self.table(), self.table()
        ours, theirs = child.columns[0].name, parent.columns[0].name
        name = self.fresh()
        self.say(
            self.maybe(f"ALTER TABLE {parent.name} ADD UNIQUE ({theirs})"),
            f"ALTER TABLE {child.name} ADD CONSTRAINT {name} FOREIGN KEY ({ours}) REFERENCES"
            f" {parent.name} ({theirs}) MATCH {self.one('SIMPLE', 'FULL')}"
            f" ON DELETE {self.one('CASCADE', 'NO ACTION', f'SET NULL ({ours})', 'SET DEFAULT')}"
            f" ON UPDATE {self.one('RESTRICT', 'CASCADE')}"
            f" {self.one('', 'NOT VALID', 'DEFERRABLE INITIALLY DEFERRED', 'NOT ENFORCED')}",
            f"COMMENT ON CONSTRAINT {name} ON {child.name} IS {self.text()}",
        )

    def make_function(self) -> None:
        name, kind, table = self.placed(), self.kind(), self.table()
        column = table.columns[0].name
        text, other = self.text(), self.fresh()
        choices = [
            (
                f"FUNCTION {name}({other} text DEFAULT {text}, VARIADIC integer[] DEFAULT '{{}}')"
                f" RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $x$ SELECT {text} $x$"
            ),
            (
                f"FUNCTION {name}() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC"
                f" SELECT count(*) FROM {table.name} WHERE {column} > 0; END"
            ),
            f"FUNCTION {name}({other} {kind}) RETURNS {kind} LANGUAGE sql IMMUTABLE RETURN $1",
            (
                f"FUNCTION {name}() RETURNS SETOF {table.name} LANGUAGE sql ROWS 7 COST 3"
                f" SECURITY DEFINER SET search_path TO {self.one(*self.schemas)}, pg_temp"
                f" AS $$SELECT * FROM {table.name}$$"
            ),
            (
                f"FUNCTION {name}(INOUT {other} {kind}, OUT o text) LANGUAGE plpgsql LEAKPROOF"
                f" SET app.x TO {text} AS $_$BEGIN o := {text}; -- $$ ;\nEND$_$"
            ),
            f"PROCEDURE {name}(INOUT {other} {kind}) LANGUAGE plpgsql AS {text}",
            (
                f"FUNCTION {name}() RETURNS TABLE ({other} {kind}, n integer) LANGUAGE plpgsql"
                " WINDOW AS 'BEGIN\n/* ; $a$ */\nEND'"
            ),
            (
                f"AGGREGATE {name}(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0',"
                " PARALLEL = SAFE, COMBINEFUNC = int4pl)"
            ),
            (
                f"AGGREGATE {name}(float8 ORDER BY anyelement) ("
                "SFUNC = ordered_set_transition_multi, STYPE = internal,"
                " FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA)"
            ),
        ]
        made = self.one(*choices)
        what = f"{made.partition(' ')[0]} {name}"
        self.say(f"CREATE {made}")
        self.remark(what)
        self.say(
            self.one(
                "",
                f"REVOKE ALL ON {what} FROM PUBLIC",
                f"GRANT EXECUTE ON ROUTINE {name} TO {self.role()} WITH GRANT OPTION",
            )
        )
        if "SETOF" not in made and made.startswith("FUNCTION"):
            self.functions.append(name)

    def make_careful(self) -> None:
        """A function that a table's own definitions ask, with every name in full."""
        helper, asked, table = self.placed(), self.placed(), self.table("r")
        column = table.columns[0].name
        self.say(
            f"CREATE FUNCTION {helper}(integer) RETURNS integer LANGUAGE sql IMMUTABLE"
            " AS 'SELECT $1 + 1'",
            f"CREATE FUNCTION {asked}(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE"
            f" AS $b$BEGIN RETURN {helper}($1); END$b$",
            self.one(
                f"CREATE INDEX ON {table.name} ({asked}({column}))",
                f"ALTER TABLE {table.name} ADD CHECK ({asked}({column}) IS NOT NULL)",
                f"ALTER TABLE {table.name} ADD COLUMN {self.fresh()} integer"
                f" GENERATED ALWAYS AS ({asked}({column})) STORED",
                f"ALTER TABLE {table.name} ALTER COLUMN {column} SET DEFAULT {asked}(1)",
                f"CREATE MATERIALIZED VIEW {self.placed()} AS"
                f" SELECT {asked}({column}) AS x FROM {table.name}",
            ),
        )

    def make_operator(self) -> None:
        function, schema = self.placed(), self.one(*self.schemas)
        sign = self.one("<->", "=#=", "~~~", "@-@")
        kind = self.one("integer", "text", *self.own_kinds)
        self.say(
            f"CREATE FUNCTION {function}({kind}, {kind}) RETURNS boolean LANGUAGE sql IMMUTABLE"
            " AS 'SELECT true'",
            f"CREATE OPERATOR {schema}.{sign} (FUNCTION = {function}, LEFTARG = {kind},"
            f" RIGHTARG = {kind}, COMMUTATOR = OPERATOR({schema}.{sign}), RESTRICT = eqsel)",
        )
        self.remark(f"OPERATOR {schema}.{sign} ({kind}, {kind})")
        family = self.placed()
        self.say(
            self.one(
                f"CREATE OPERATOR FAMILY {family} USING btree",
                f"CREATE OPERATOR CLASS {family} FOR TYPE {kind} USING hash AS"
                f" OPERATOR 1 {schema}.{sign}",
                f"CREATE OPERATOR CLASS {family} FOR TYPE integer USING btree AS OPERATOR 1 <,"
                " OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,"
                " FUNCTION 1 btint4cmp(integer, integer)",
            )
        )

    def make_view(self) -> None:
        table, name = self.table(), self.placed()
        column = self.column(table).name
        source = self.one(table.name, *self.views)
        if source != table.name:
            column = "*"
        self.say(
            self.one(
                f"CREATE VIEW {name} WITH (security_barrier) AS SELECT {column} FROM {source}",
                f"CREATE VIEW {name} WITH (security_invoker) AS TABLE {source}",
                f"CREATE VIEW {name} AS SELECT * FROM {table.name}"
                f" WHERE {table.columns[0].name} > 0 WITH LOCAL CHECK OPTION",
                f"CREATE RECURSIVE VIEW {name} (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM"
                f" {name.rpartition('.')[2]} WHERE n < 4",
                f"CREATE MATERIALIZED VIEW {name} AS SELECT * FROM {source}",
                f"CREATE MATERIALIZED VIEW {name} WITH (fillfactor = 80) AS SELECT * FROM {source}"
                " WITH NO DATA",
                f"CREATE VIEW {name} AS SELECT {self.text()} AS {self.fresh()},"
                f" a.* FROM {source} a FULL JOIN {table.name} b ON true ORDER BY 2",
                f"CREATE VIEW {name} AS SELECT count(*) OVER w, sum(1) FILTER (WHERE true) OVER w"
                f" AS s FROM {source} WINDOW w AS (ROWS UNBOUNDED PRECEDING)",
                f"CREATE VIEW {name} AS SELECT t.ctid, t.tableoid::regclass AS r, t AS whole"
                f" FROM {source} t GROUP BY GROUPING SETS ((t.ctid, t.tableoid, t.*), ())",
            )
        )
        self.remark(self.one("VIEW", "MATERIALIZED VIEW") + f" {name}")
        self.views.append(name)

    def make_rule(self) -> None:
        table, name = self.table(), self.fresh()
        on = self.one(table.name, *self.views)
        event = self.one("INSERT", "UPDATE", "DELETE")
        do = self.one("INSTEAD NOTHING", "ALSO NOTIFY x", f"ALSO SELECT {self.text()}")
        self.say(
            f"CREATE RULE {name} AS ON {event} TO {on} {self.maybe('WHERE false')} DO {do}",
            f"COMMENT ON RULE {name} ON {on} IS {self.text()}",
            self.maybe(f"ALTER TABLE {on} {self.one('DISABLE', 'ENABLE ALWAYS')} RULE {name}"),
        )

    def make_policy(self) -> None:
        table, name = self.table(), self.fresh()
        self.say(
            f"CREATE POLICY {name} ON {table.name} AS {self.one('PERMISSIVE', 'RESTRICTIVE')}"
            f" FOR {self.one('ALL', 'UPDATE')} TO {self.one('PUBLIC', self.role())}"
            f" USING ({table.columns[0].name} > 0) WITH CHECK (current_user <> {self.text()})",
            f"ALTER TABLE {table.name} {self.one('ENABLE', 'FORCE')} ROW LEVEL SECURITY",
            f"COMMENT ON POLICY {name} ON {table.name} IS {self.text()}",
        )

    def make_trigger(self) -> None:
        table, name, function = self.table("rp"), self.fresh(), self.placed()
        column = self.column(table).name
        self.say(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN NEW; END'",
            self.one(
                f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE OF {column} ON {table.name}"
                f" FOR EACH ROW EXECUTE FUNCTION {function}({self.text()}, '1')",
                f"CREATE CONSTRAINT TRIGGER {name} AFTER UPDATE ON {table.name} DEFERRABLE"
                f" INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.{column} IS NOT NULL)"
                f" EXECUTE FUNCTION {function}()",
                f"CREATE TRIGGER {name} AFTER UPDATE ON {table.name} REFERENCING OLD TABLE AS o"
                f" NEW TABLE AS {self.fresh()} FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                f"CREATE TRIGGER {name} AFTER TRUNCATE ON {table.name}"
                f" EXECUTE FUNCTION {function}()",
                *(
                    f"CREATE TRIGGER {name} INSTEAD OF INSERT ON {view} FOR EACH ROW"
                    f" EXECUTE FUNCTION {function}()"
                    for view in self.views
                ),
            ),
            self.one("", f"ALTER TABLE {table.name} {self.one('DISABLE', 'ENABLE REPLICA')}"
                         f" TRIGGER {name}"),
            f"COMMENT ON TRIGGER {name} ON {table.name} IS {self.text()}",
        )  # fmt: skip

    def make_event_trigger(self) -> None:
        name, function = self.fresh(), self.placed()
        self.say(
            f"CREATE FUNCTION {function}() RETURNS event_trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM 1; END'",
            f"CREATE EVENT TRIGGER {name} ON {self.one('ddl_command_end', 'sql_drop')}"
            f" {self.maybe(_TAGS)}"
            f" EXECUTE FUNCTION {function}()",
            self.maybe(f"ALTER EVENT TRIGGER {name} {self.one('DISABLE', 'ENABLE ALWAYS')}"),
            f"COMMENT ON EVENT TRIGGER {name} IS {self.text()}",
        )

    def make_large_object(self) -> None:
        number = 90_000 + self.number(9)
        self.say(
            f"SELECT lo_from_bytea({number}, convert_to({self.text()}, 'SQL_ASCII'))",
            f"COMMENT ON LARGE OBJECT {number} IS {self.text()}",
            self.maybe(f"GRANT SELECT ON LARGE OBJECT {number} TO {self.role()}"),
            self.maybe(f"ALTER LARGE OBJECT {number} OWNER TO {self.role()}"),
        )

    def make_extension(self) -> None:
        name = self.one(*EXTENSIONS)
        schema = self.one(*self.schemas)
        self.say(
            f"CREATE EXTENSION {ident(name)} WITH SCHEMA {schema} CASCADE",
            self.maybe(f"COMMENT ON EXTENSION {ident(name)} IS {self.text()}"),
        )
        if name in EXTENSION_TYPES:
            kind, written = EXTENSION_TYPES[name]
            self.own_kinds.append(f"{schema}.{kind}")
            self.kinds[f"{schema}.{kind}"] = (written,)
        if name == "pg_stat_statements":
            self.say("REVOKE ALL ON FUNCTION pg_stat_statements_reset FROM PUBLIC")

    def make_collation(self) -> None:
        name = self.placed()
        self.say(
            self.one(
                f'CREATE COLLATION {name} FROM pg_catalog."C"',
                f"CREATE COLLATION {name} (LOCALE = 'POSIX')",
                f"CREATE COLLATION {name} (PROVIDER = icu, LOCALE = 'de-u-kn-true',"
                " DETERMINISTIC = false)",
                f"CREATE COLLATION {name} (PROVIDER = builtin, LOCALE = 'C.UTF-8')",
            )
        )
        self.remark(f"COLLATION {name}")
        self.collations.append(name)

    def make_search(self) -> None:
        dictionary, configuration = self.placed(), self.placed()
        self.say(
            f"CREATE TEXT SEARCH DICTIONARY {dictionary} (TEMPLATE = pg_catalog.simple,"
            " Accept = false)",
            f"CREATE TEXT SEARCH CONFIGURATION {configuration} (COPY = pg_catalog.english)",
            f"ALTER TEXT SEARCH CONFIGURATION {configuration} ALTER MAPPING FOR asciiword, word"
            f" WITH {dictionary}, simple",
        )
        self.remark(f"TEXT SEARCH CONFIGURATION {configuration}")
        table = self.table("r")
        self.say(
            f"CREATE INDEX ON {table.name} USING gin"
            f" (to_tsvector({literal(configuration)}::regconfig,"
            f" {self.column(table).name}::text))"
        )

    def make_foreign(self) -> None:
        wrapper, server, table = self.fresh(), self.fresh(), self.placed()
        self.say(
            f"CREATE FOREIGN DATA WRAPPER {wrapper} OPTIONS ({self.fresh()} {self.text()})",
            f"CREATE SERVER {server} TYPE 't' VERSION {self.text()} FOREIGN DATA WRAPPER {wrapper}"
            f" OPTIONS (host {self.text()})",
            f"CREATE USER MAPPING FOR {self.one('PUBLIC', self.role())} SERVER {server}"
            f" OPTIONS (password {self.text()})",
            f"CREATE FOREIGN TABLE {table} (a integer OPTIONS (x {self.text()}) NOT NULL, b text)"
            f" SERVER {server} OPTIONS (y {self.text()})",
            f"GRANT USAGE ON FOREIGN SERVER {server} TO {self.role()}",
            f"IMPORT FOREIGN SCHEMA a FROM SERVER {server} INTO public",
        )
        self.remark(f"SERVER {server}")

    def make_publication(self) -> None:
        table, name = self.table(), self.fresh()
        column = table.columns[0].name
        self.say(
            f"CREATE PUBLICATION {name} "
            + self.one(
                "",
                "FOR ALL TABLES",
                f"FOR TABLES IN SCHEMA {self.one(*self.schemas)}",
                f"FOR TABLE {table.name} ({column}) WHERE ({column} > 1)",
                f"FOR TABLE ONLY {table.name} WITH (publish = 'insert',"
                " publish_via_partition_root = true)",
            )
        )
        self.remark(f"PUBLICATION {name}")

    def make_sequence(self) -> None:
        name, table = self.placed(), self.table("r")
        self.say(
            f"CREATE {self.one('', 'UNLOGGED')} SEQUENCE {name} AS {self.one('smallint', 'bigint')}"
            f" INCREMENT BY {self.one('1', '-7')} CACHE {self.number(9)} {self.maybe('CYCLE')}",
            f"SELECT setval({literal(name)}, -{self.number(9)}, {self.one('true', 'false')})",
            f"SELECT setval({literal(name)}, {self.number(9)}, {self.one('true', 'false')})",
            self.maybe(f"ALTER SEQUENCE {name} OWNED BY {table.name}.{table.columns[0].name}"),
            self.maybe(
                f"ALTER TABLE {table.name} ALTER COLUMN {table.columns[0].name}"
                f" SET DEFAULT nextval({literal(name)}::regclass)"
            ),
            f"GRANT USAGE ON SEQUENCE {name} TO {self.role()}",
        )
        self.remark(f"SEQUENCE {name}")

    def make_grant(self) -> None:
        table, role, schema = self.table(), self.role(), self.one(*self.schemas)
        self.say(
            self.one(
                f"GRANT SELECT ({table.columns[0].name}), UPDATE ON {table.name} TO {role}"
                " WITH GRANT OPTION",
                f"GRANT ALL ON {table.name} TO PUBLIC",
                f"REVOKE ALL ON {table.name} FROM CURRENT_USER",
                f"GRANT MAINTAIN ON {table.name} TO {role}",
                f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}",
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT ALL ON SEQUENCES TO {role}",
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {self.role()} REVOKE ALL ON FUNCTIONS"
                " FROM PUBLIC",
                "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC",
                f"ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {role}",
                f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role} GRANTED BY"
                " CURRENT_USER",
                "REVOKE EXECUTE ON FUNCTION pg_catalog.lower(text) FROM PUBLIC",
                f"GRANT SELECT ON pg_catalog.pg_authid TO {role}",
                "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO PUBLIC",
            )
        )

    def make_rarity(self) -> None:
        """What lies in no schema, or hardly anybody has."""
        name, kind = self.fresh(), self.one("integer", *self.own_kinds)
        place = self.placed()
        self.say(
            *self._draw(
                st.sampled_from(
                    [
                        (
                            f"CREATE ACCESS METHOD {name} TYPE TABLE HANDLER heap_tableam_handler",
                            f"CREATE TABLE {place} (a integer) USING {name}",
                        ),
                        (
                            (f"CREATE LANGUAGE {name} HANDLER plpgsql_call_handler"
                            " INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator"),
                            (f"CREATE FUNCTION {place}() RETURNS integer LANGUAGE {name}"
                            " AS 'BEGIN RETURN 1; END'"),
                            f"GRANT USAGE ON LANGUAGE {name} TO {self.role()}",
                        ),
                        (
                            (f"CREATE CONVERSION {place} FOR 'LATIN1' TO 'UTF8'"
                            " FROM iso8859_1_to_utf8"),
                        ),
                        (
                            (f"CREATE FUNCTION {place}(internal) RETURNS internal LANGUAGE internal"
                            " IMMUTABLE AS 'prsd_lextype'"),
                            (f"CREATE TRANSFORM FOR {kind} LANGUAGE plpgsql (FROM SQL WITH FUNCTION"
                            f" {place}(internal))"),
                        ),
                        (
                            (f"CREATE FUNCTION {place}({kind}) RETURNS money LANGUAGE sql"
                            " IMMUTABLE AS 'SELECT 1::money'"),
                            (f"CREATE CAST ({kind} AS money) WITH FUNCTION {place}({kind})"
                            " AS ASSIGNMENT"),
                            f"COMMENT ON CAST ({kind} AS money) IS {self.text()}",
                        ),
                        (f"CREATE CAST ({kind} AS text) WITH INOUT AS IMPLICIT",),
                        (
                            f"CREATE TYPE {place} AS (a integer, b text)",
                            f"CREATE TABLE {place[:-1]}t\" OF {place} (PRIMARY KEY (a))",
                            f"INSERT INTO {place[:-1]}t\" VALUES (1, {self.text()})",
                        ),
                        (
                            f"CREATE TABLE {place} ()",
                            f"INSERT INTO {place} DEFAULT VALUES",
                            f"INSERT INTO {place} DEFAULT VALUES",
                        ),
                        ("DROP EXTENSION plpgsql CASCADE",),
                        (
                            f"CREATE TABLE {place} (a integer)",
                            f"CREATE VIEW {place[:-1]}v\" AS SELECT * FROM {place}",
                            (f"CREATE FUNCTION {place[:-1]}f\"({place}) RETURNS text LANGUAGE sql"
                            " IMMUTABLE AS 'SELECT $1::text'"),
                            f"ALTER TABLE {place} ADD CHECK ({place[:-1]}f\"({place}.*) <> 'x')",
                            f"INSERT INTO {place} VALUES (1)",
                        ),
                        (
                            f"CREATE VIEW {place} AS SELECT 1 AS a",
                            f"CREATE VIEW {place[:-1]}w\" AS SELECT a FROM {place}",
                            f"CREATE OR REPLACE VIEW {place} AS SELECT a FROM {place[:-1]}w\"",
                        ),
                    ]
                )
            )
        )  # fmt: skip


PIECES: tuple[Callable[[Pieces], None], ...] = (
    Pieces.make_table,
    Pieces.make_partitions,
    Pieces.make_type,
    Pieces.make_schema,
    Pieces.make_index,
    Pieces.make_function,
    Pieces.make_view,
    Pieces.make_change,
    Pieces.make_key,
    Pieces.make_trigger,
    Pieces.make_rows,
    Pieces.make_careful,
    Pieces.make_rule,
    Pieces.make_policy,
    Pieces.make_grant,
    Pieces.make_sequence,
    Pieces.make_collation,
    Pieces.make_extension,
    Pieces.make_large_object,
    Pieces.make_operator,
    Pieces.make_search,
    Pieces.make_publication,
    Pieces.make_event_trigger,
    Pieces.make_foreign,
    Pieces.make_rarity,
    Pieces.make_public,
)


@st.composite
def databases(draw: st.DrawFn, roles: Sequence[str]) -> Random:
    """A database of some of these.

    :param roles: that are there, for owners, grants and policies.
    """
    options = draw(st.sampled_from(DATABASES))
    codec = next((codec for encoding, codec in _CODECS if f"'{encoding}'" in options), "utf-8")
    known = [name for name in NAMES if _fits(name, codec)]
    names = draw(st.lists(st.sampled_from(known), min_size=2, max_size=5, unique=True))
    pieces = Pieces(draw, names, [text for text in TEXTS if _fits(text, codec)], roles)
    chosen = draw(st.lists(st.sampled_from(PIECES), min_size=5, max_size=25))
    assume(len(set(chosen)) > 3)
    for piece in chosen:
        piece(pieces)
    filled = tuple(filter(None, pieces.said))
    pieces.said = []
    for piece in draw(st.lists(st.sampled_from(PIECES), max_size=6)):
        piece(pieces)
    name = draw(st.sampled_from(DATABASE_NAMES))
    damage = tuple(filter(None, pieces.said))
    pieces.texts = TEXTS  # what is said of a database is not said in it
    return Random(name, options, _settings(draw, pieces, name), filled, damage)


#: what may be written in a database; where nothing is said, all
_CODECS = (
    ("LATIN1", "latin-1"),
    ("WIN1251", "cp1251"),
    ("EUC_JP", "euc_jp"),
    ("EUC_TW", "ascii"),
    ("MULE_INTERNAL", "ascii"),
)


def _fits(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _settings(draw: st.DrawFn, pieces: Pieces, name: str) -> tuple[str, ...]:
    """Statements about the database as a whole."""
    database, made = ident(name), []
    for setting in draw(st.lists(st.sampled_from(SETTINGS), max_size=4, unique=True)):
        what = setting.format(
            schema=pieces.one(*pieces.schemas),
            text=pieces.text(),
            name=pieces.one(*NAMES).replace('"', '""'),
            role=pieces.role(),
        )
        whose = pieces.one("DATABASE", "DATABASE", f"ROLE {pieces.role()} IN DATABASE")
        made.append(f"ALTER {whose} {database} SET {what}")
    made += [
        pieces.maybe(f"COMMENT ON DATABASE {database} IS {pieces.text()}"),
        pieces.maybe(f"REVOKE {pieces.one('CONNECT', 'ALL')} ON DATABASE {database} FROM PUBLIC"),
        pieces.maybe(f"GRANT CREATE ON DATABASE {database} TO {pieces.role()} WITH GRANT OPTION"),
        pieces.maybe(f"ALTER DATABASE {database} OWNER TO {pieces.role()}", 4),
    ]
    return tuple(filter(None, made))


def run(
    server: PostgresServer, database: str, options: str, statements: Sequence[str]
) -> list[tuple[str, str]]:
    """Each by itself; what the server refused, and why.

    By libpq itself, which reads no placeholders and speaks every encoding.

    :param options: of the session.
    """
    with psycopg.connect(
        server.dsn(database, options=options), autocommit=True, client_encoding="SQL_ASCII"
    ) as connection:
        utf8 = connection.pgconn.exec_(b"SET client_encoding TO UTF8").error_message == b""
        refused = []
        for statement in statements:
            if not utf8 and not statement.isascii():
                refused.append((statement, "no such letters"))
                continue
            done = connection.pgconn.exec_(statement.encode())
            if done.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
                refused.append((statement, done.error_message.decode(errors="replace")))
    return refused
