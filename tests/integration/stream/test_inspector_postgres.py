"""The inspector against PostgreSQL itself: nasty schemas and rows, real pg_dump, and the server's
own word for what was in them.
"""

import hashlib
import random
import subprocess

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from postgres_backup.errors import BadBackupError
from postgres_backup.postgresql.load import Load
from postgres_backup.settings import Settings
from postgres_backup.stream.guard import Guard
from postgres_backup.stream.inspector import Inspector
from tests.properties import examples
from tests.unit.stream.dumps import Taken

#: what a dump's own lines look like, where a user may write them
TRAPS = [
    "COPY public.x (id) FROM stdin;", "\n1\n\\.\n",
    "\n-- PostgreSQL database dump complete\n--\n\n",
    "\n\\connect evil\n", "\\! id", "\n\\.\n",
    "\\.", "\\", "'", '"', "''", ";", "$$", "$_$", "$a$", "--", "/*", "*/",
    "\n", "\r\n", "\r", "\t", "(", ")", "E'", "U&'", "begin", "END", " ",
    "x", "Ж", "日本", "\\N", "\v", "\x01", "\x7f",
]  # fmt: skip
text = st.lists(st.sampled_from(TRAPS), max_size=6).map("".join)
names = st.lists(
    st.sampled_from(
        [trap for trap in TRAPS if len(trap) < 32] + ["COPY ", " FROM stdin;", "a", "B"]
    ),
    min_size=1,
    max_size=4,
).map("".join)
cells = st.one_of(st.none(), text, text.map(lambda value: value * 300))
TYPES = ["text", "bytea", "text[]", "json"]

SESSION = (
    "SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 3;"
    " SET search_path = ''; SET bytea_output = hex"
)


def pg_dump(server, database, *options, program="pg_dump", **environment):
    command = [server.bin_dir / program, *options]
    done = subprocess.run(
        command, env=server.environment(database) | environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def inspect(dump, rng=None):
    inspector, at = Inspector(), 0
    while at < len(dump):
        width = rng.choice([1, 1, 2, 3, 5, 17, 100, 1000, 65536]) if rng else len(dump)
        inspector.feed(dump[at : at + width])
        at += width
    return inspector.finish()


def truth(server, database):
    """What the server says of its tables: name as pg_dump writes it -> (rows, SHA-256 of COPY ...
    TO STDOUT).
    """
    query = """SELECT quote_ident(nspname) || '.' || quote_ident(relname),
            (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
             FROM pg_catalog.pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '')
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
        WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'"""
    found = {}
    # SQL_ASCII is no encoding at all: everything comes in the database's own, as it does to pg_dump
    with psycopg.connect(
        server.dsn(database, client_encoding="SQL_ASCII"), autocommit=True
    ) as connection:
        connection.execute(SESSION)
        for table, columns in connection.execute(query).fetchall():
            rows = connection.execute(b"SELECT count(*) FROM " + table).fetchone()[0]
            digest = hashlib.sha256()
            with connection.cursor().copy(
                b"COPY " + table + (b" (" + columns + b")" if columns else b"") + b" TO STDOUT"
            ) as copy:
                for piece in copy:
                    digest.update(piece)
            found[table.decode(errors="backslashreplace")] = (rows, digest.hexdigest())
    return found


def facts(report):
    return {name: (table.rows, table.sha256) for name, table in report.tables.items()}


NASTY = r"""
CREATE SCHEMA "a;b
\connect evil";
CREATE TABLE "a;b
\connect evil"."t ""x"" (id) FROM stdin;
1" ("c, ""d"")
FROM stdin;" text, "E" text DEFAULT E'it''s \\ $x$ ; \n\\.\n',
  g int GENERATED ALWAYS AS (1 + 1) STORED, dropped int);
ALTER TABLE "a;b
\connect evil"."t ""x"" (id) FROM stdin;
1" DROP COLUMN dropped;
INSERT INTO "a;b
\connect evil"."t ""x"" (id) FROM stdin;
1" SELECT E'\\.', E'\n\\.\n' || i FROM generate_series(1, 50) i;
COMMENT ON TABLE "a;b
\connect evil"."t ""x"" (id) FROM stdin;
1" IS E'x\nCOPY public.x (id) FROM stdin;\n1\n\\.\n'
  '--\n-- PostgreSQL database dump complete\n--\n\n\\connect evil\n\\! id\n';
CREATE TABLE public.bare ();
INSERT INTO public.bare DEFAULT VALUES;
INSERT INTO public.bare DEFAULT VALUES;
CREATE TABLE public.empty (id int);
CREATE TABLE public.blank (a text);
INSERT INTO public.blank VALUES (''), (NULL), (E'\n'), (E'\\'), ('\.'), (E'\r\n'), (E'\b\f\v\t');
CREATE TABLE public.bytes (id serial PRIMARY KEY, b bytea, wide text);
ALTER TABLE public.bytes ALTER wide SET STORAGE EXTERNAL;
INSERT INTO public.bytes (b, wide)
  SELECT decode(repeat(md5(i::text), 400), 'hex'),
         repeat(E'line \\. ' || i || E'\n\\.\n', 30000) FROM generate_series(1, 4) i;
CREATE TABLE public.parts (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE public.parts_2 PARTITION OF public.parts FOR VALUES FROM (10) TO (20);
INSERT INTO public.parts SELECT i, 'v' || i FROM generate_series(0, 19) i;
CREATE FUNCTION public.plain() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  RETURN $x$
COPY public.x (id) FROM stdin;
1
\.
-- PostgreSQL database dump complete
--

\connect evil
$x$ || '$_$';
END
$body$;
CREATE FUNCTION public.atomic(x int) RETURNS int LANGUAGE sql
BEGIN ATOMIC
  SELECT 'x; -- COPY public.x (id) FROM stdin;' AS unnamed_ones_get_a_name_at_each_dump;
  SELECT CASE WHEN x > 1 THEN (SELECT max(id) FROM public.bytes) ELSE CASE x WHEN 1 THEN 2 END END;
END;
CREATE PROCEDURE public.proc() LANGUAGE sql BEGIN ATOMIC
  INSERT INTO public.empty VALUES (1); INSERT INTO public.empty VALUES (2); END;
CREATE VIEW public.view AS SELECT 'a\.' AS "b;", $$ ' \ $$ AS c, id
  FROM public.bytes WHERE id > 1 AND b <> '\x00';
CREATE RULE rule AS ON INSERT TO public.empty DO ALSO (SELECT 1; SELECT ';(');
CREATE TYPE public."enum;" AS ENUM ('a''b', E'\\', ';', $$'"$$);
CREATE DOMAIN public.mail AS text CHECK (VALUE ~ '^[^@\s'';]+@\S+$');
CREATE OPERATOR public.@#/ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
"""
LARGE_OBJECTS = (
    "SELECT lo_from_bytea(0, '\\x00ff5c2e0a'),"
    " lo_from_bytea(0, convert_to(repeat(E'\\n\\\\.\\n''', 20000), 'UTF8')), lo_create(0)"
)


@pytest.fixture
def nasty(new_database):
    database = new_database(name='live "1"; \\x')
    database.execute(NASTY)
    database.execute(LARGE_OBJECTS)
    return database


@pytest.mark.every_major
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--verbose"],
        ["--clean", "--create", "--if-exists"],
        ["--quote-all-identifiers"],
        ["--disable-triggers", "--data-only"],
    ],
    ids=" ".join,
)
def test_a_nasty_database(postgres, nasty, options):
    dump = pg_dump(postgres, nasty.name, *options)
    report = inspect(dump)
    assert report.findings == []
    if "--quote-all-identifiers" in options:
        assert sorted(facts(report).values()) == sorted(truth(postgres, nasty.name).values())
    else:
        assert facts(report) == truth(postgres, nasty.name)
    assert (report.bytes, report.sha256) == (len(dump), hashlib.sha256(dump).hexdigest())
    assert report.large_objects == 3
    assert report.server_version.startswith(str(postgres.major))
    for seed in range(3):
        assert inspect(dump, random.Random(seed)) == report


@pytest.mark.every_major
def test_what_has_no_rows_of_copy_is_whole_too(postgres, nasty):
    for options in (["--inserts"], ["--column-inserts", "--rows-per-insert=7"], ["--schema-only"]):
        report = inspect(pg_dump(postgres, nasty.name, *options))
        assert (report.findings, report.tables) == ([], {})
    everything = inspect(pg_dump(postgres, nasty.name, program="pg_dumpall"))
    assert [found["code"] for found in everything.findings] == ["CLUSTER_DUMP"]
    assert facts(everything).items() >= truth(postgres, nasty.name).items()


@pytest.mark.every_major
def test_partitions_loaded_by_their_root(postgres, nasty):
    report = inspect(pg_dump(postgres, nasty.name, "--load-via-partition-root"))
    assert report.tables["public.parts"].rows == 20
    assert "public.parts_1" not in report.tables


@pytest.mark.every_major
def test_no_part_of_a_dump_is_whole(postgres, nasty):
    nasty.execute("DROP TABLE public.bytes CASCADE")
    dump = pg_dump(postgres, nasty.name, "--no-blobs")
    rng = random.Random(postgres.major)
    cuts = {len(dump) - back for back in range(1, 200)} | {
        rng.randrange(len(dump)) for _ in range(400)
    }
    assert [cut for cut in sorted(cuts) if inspect(dump[:cut]).complete] == []
    lines = [at for at in range(len(dump)) if dump[at : at + 1] == b"\n"]
    assert [
        cut
        for cut in rng.sample(lines[:-1], min(300, len(lines) - 1))
        if inspect(dump[: cut + 1]).complete
    ] == []
    assert inspect(dump).complete


@pytest.mark.every_major
def test_a_dump_where_backslashes_escape(postgres, nasty):
    nasty.execute(
        sql.SQL("ALTER DATABASE {} SET standard_conforming_strings = off").format(
            sql.Identifier(nasty.name)
        )
    )
    for options in ([], ["--inserts"]):
        dump = pg_dump(postgres, nasty.name, *options)
        assert b"\nSET standard_conforming_strings = off;\n" in dump
        report = inspect(dump)
        assert report.findings == []
        assert facts(report) == ({} if options else truth(postgres, nasty.name))
        assert inspect(dump, random.Random(1)) == report


@pytest.mark.every_major
@pytest.mark.parametrize(
    "encoding", ["LATIN1", "EUC_JP", "SQL_ASCII", "WIN1251", "EUC_TW", "KOI8R"]
)
def test_other_encodings(postgres, new_database, encoding):
    database = new_database(options=f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    word = {"LATIN1": "größe", "EUC_JP": "表ソ", "WIN1251": "учёт"}.get(encoding, "plain")
    with psycopg.connect(
        postgres.dsn(database.name, client_encoding="UTF8"), autocommit=True
    ) as connection:
        connection.execute(f'CREATE TABLE public."{word} ;" ("{word}" text)')
        connection.execute(
            f"INSERT INTO public.\"{word} ;\" SELECT '{word} \\.' FROM generate_series(1, 100)"
        )
        connection.execute(f"COMMENT ON TABLE public.\"{word} ;\" IS '{word};\n\\.\n'")
    dump = pg_dump(postgres, database.name)
    report = inspect(dump)
    assert report.findings == []
    assert list(report.tables) == [f'public."{word} ;"']
    assert list(facts(report).values()) == list(truth(postgres, database.name).values())
    assert inspect(dump, random.Random(2)) == report
    if encoding != "SQL_ASCII":
        assert (
            facts(inspect(pg_dump(postgres, database.name, "--encoding=UTF8"))).keys()
            == facts(report).keys()
        )


@pytest.mark.every_major
def test_a_restored_database_has_the_same_facts(postgres, nasty, new_database):
    dump = pg_dump(postgres, nasty.name)
    side = new_database()
    load(postgres, side.name, dump)
    before, after = inspect(dump), inspect(pg_dump(postgres, side.name))
    assert after.tables == before.tables
    assert after.schema_sha256 == before.schema_sha256
    side.execute("UPDATE public.blank SET a = 'other' WHERE a = ''")
    assert inspect(pg_dump(postgres, side.name)).tables != before.tables
    side.execute("COMMENT ON TABLE public.blank IS 'new'")
    assert inspect(pg_dump(postgres, side.name)).schema_sha256 != before.schema_sha256


@pytest.fixture
def schema(postgres):
    """A database that examples fill and empty again."""
    name = "inspected"
    postgres.execute(f"DROP DATABASE IF EXISTS {name}")
    postgres.execute(f"CREATE DATABASE {name}")
    yield name
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


tables = st.tuples(
    names,
    st.lists(names, max_size=3, unique=True),
    st.lists(st.lists(cells, min_size=3, max_size=3), max_size=5),
    text,
)


@pytest.mark.every_major
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    made=st.lists(tables, min_size=1, max_size=4, unique_by=lambda table: table[0][:15]),
    bodies=st.lists(text, max_size=3),
    options=st.sampled_from(["", "--clean", "--verbose"]),
)
def test_whatever_users_write(postgres, schema, made, bodies, options):
    with postgres.connect(schema) as connection:
        connection.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; SET check_function_bodies = off"
        )
        for name, columns, rows, comment in made:
            table = sql.Identifier("public", name)
            connection.execute(
                sql.SQL("CREATE TABLE {} ({})").format(
                    table,
                    sql.SQL(", ").join(
                        sql.SQL("{} text DEFAULT {}").format(sql.Identifier(c), comment)
                        for c in columns
                    ),
                )
            )
            connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, comment))
            for row in rows:
                values = sql.SQL(", ").join(sql.Literal(value) for value in row[: len(columns)])
                connection.execute(
                    sql.SQL(
                        "INSERT INTO {} VALUES ({})" if columns else "INSERT INTO {} DEFAULT VALUES"
                    ).format(table, *([values] if columns else []))
                )
        for number, content in enumerate(bodies):
            connection.execute(
                sql.SQL("CREATE FUNCTION public.{}() RETURNS text LANGUAGE sql AS {}").format(
                    sql.Identifier(f"f{number}"), sql.Literal(content)
                )
            )
            connection.execute(
                sql.SQL(
                    "CREATE FUNCTION public.{}() RETURNS SETOF text LANGUAGE sql"
                    " BEGIN ATOMIC SELECT {}; SELECT CASE WHEN true THEN {} END; END"
                ).format(sql.Identifier(f"a{number}"), sql.Literal(content), sql.Literal(content))
            )
    dump = pg_dump(postgres, schema, *filter(None, [options]))
    report = inspect(dump)
    assert report.findings == []
    assert facts(report) == truth(postgres, schema)
    assert inspect(dump, random.Random(len(dump))) == report
    guard = Guard(Taken())
    guard.feed(dump)
    assert guard.finish() == report
    cut = random.Random(len(dump)).randrange(len(dump))
    assert not inspect(dump[:cut]).complete


@pytest.mark.every_major
def test_a_routine_that_psql_cannot_load(postgres, new_database):
    """psql takes its name for the beginning of a block, and everything behind it for the block: the
    dump must not count as a backup.
    """
    database, side = new_database(), new_database()
    database.execute(
        "CREATE FUNCTION public.begin() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        " CREATE TABLE public.later AS SELECT 1 AS id"
    )
    dump = pg_dump(postgres, database.name)
    assert "begin: rename it" in inspect(dump).findings[0]["message"]
    psql = [postgres.bin_dir / "psql", "--quiet", "--set=ON_ERROR_STOP=1"]
    loaded = subprocess.run(
        psql, env=postgres.environment(side.name), input=dump, capture_output=True, check=False
    )
    assert loaded.returncode
    assert side.execute("SELECT to_regclass('public.later')") == [(None,)]
    assert inspect(pg_dump(postgres, database.name, "--quote-all-identifiers")).complete


# --- the guard, before a real server


def load(server, database, dump, pieces=65536):
    """As the superuser, who could do everything."""
    unused = {
        "server_name": "x",
        "databases": (database,),
        "s3_endpoint_url": "http://x",
        "s3_bucket": "xxx",
    }
    settings = Settings(
        **unused, s3_access_key="x", s3_secret_key="x", db_user=server.superuser,
        db_host=server.host, db_port=server.port, db_password=server.password,
    )  # fmt: skip
    with Load(settings, database) as load:
        for at in range(0, len(dump), pieces):
            load.feed(dump[at : at + pieces])
        assert load.inspect() == inspect(dump)
        load.finish()


def everything_about(server, name):
    """What a dump of the live database could have changed."""
    return server.execute(
        """SELECT d.oid, d.datname, d.datdba, d.datacl, d.datconnlimit, d.datistemplate,
                  shobj_description(d.oid, 'pg_database'),
            (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = %s""",
        params=[name],
    )


@pytest.mark.every_major
@pytest.mark.parametrize("pieces", [7, 65536])
def test_a_dump_that_would_replace_the_live_database_loads_beside_it(
    postgres, nasty, new_database, pieces
):
    identifier = sql.Identifier(nasty.name)
    for statement in (
        "ALTER DATABASE {} SET work_mem = '5MB'",
        "COMMENT ON DATABASE {} IS 'live; one'",
        "GRANT CREATE ON DATABASE {} TO PUBLIC",
        "ALTER DATABASE {} CONNECTION LIMIT 50",
    ):
        nasty.execute(sql.SQL(statement).format(identifier))
    nasty.execute("DROP TABLE public.bytes CASCADE")
    dump = pg_dump(postgres, nasty.name, "--create", "--clean", "--if-exists")
    nasty.execute("INSERT INTO public.empty VALUES (7)")
    nasty.execute(sql.SQL("ALTER DATABASE {} SET work_mem = '6MB'").format(identifier))
    nasty.execute(sql.SQL("COMMENT ON DATABASE {} IS 'changed'").format(identifier))
    before, rows = everything_about(postgres, nasty.name), truth(postgres, nasty.name)
    side = new_database()
    side_before = everything_about(postgres, side.name)

    load(postgres, side.name, dump, pieces=pieces)
    assert everything_about(postgres, nasty.name) == before
    assert truth(postgres, nasty.name) == rows
    assert everything_about(postgres, side.name) == side_before
    assert truth(postgres, side.name) == facts(inspect(dump))
    assert len(rows) > 4


@pytest.mark.every_major
def test_a_dump_of_a_template(postgres, nasty, new_database):
    nasty.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(nasty.name)))
    dump = pg_dump(postgres, nasty.name, "--create", "--clean", "--schema-only")
    before, side = everything_about(postgres, nasty.name), new_database()
    load(postgres, side.name, dump)
    assert everything_about(postgres, nasty.name) == before


@pytest.mark.every_major
def test_no_command_of_a_dump_reaches_the_shell(postgres, database, tmp_path):
    proof = tmp_path / "written"
    tmp_path.chmod(0o777)
    dump = pg_dump(postgres, database.name)
    for command in (
        f"\\! touch {proof}\n",
        f"SELECT 1 \\g {proof}\n",
        f"COPY (SELECT 1) TO PROGRAM 'touch {proof}';\n",
        f"SELECT $a$x$a$ \\o {proof}\n",
    ):
        at = dump.index(b"SET statement_timeout")
        harmful = dump[:at] + command.encode() + dump[at:]
        with pytest.raises(BadBackupError):
            load(postgres, database.name, harmful)
        subprocess.run(
            [postgres.bin_dir / "psql", "-q"],
            env=postgres.environment(database.name),
            input=command.encode(),
            capture_output=True,
            check=True,
        )
        assert proof.exists() or "TO PROGRAM" in command, (
            "without the guard it would have been written"
        )
        proof.unlink(missing_ok=True)


def test_psql_and_the_scanner_agree_on_where_statements_end(postgres, database):
    """What psql takes for a statement the server answers, with an error here."""
    rng, first = (
        random.Random(1),
        [
            "q",
            "q",
            "CREATE FUNCTION f",
            "create or replace procedure p",
            "/* x */ Create -- y\n Function f",
        ],
    )
    words = [
        "'a;\\'", "''", "'it''s;'", "E'\\';'", "e'\\\\'",
        "$$;$$", "$a$;$$;$a$", "a$b$c", "1$b$;$b$", "$1", '"a;b"', '"a"";"', "/* ; /* */ ; */",
        "-- ;'\n", "(", ")", "(;)", "x", "E", "-", "*", "/", "::",
        "begin", "END", "CASE", "BEGIN ATOMIC", "U&'\\'", 'U&";"', "@-", "b'1'",
        "note'", "'", "\n", ":x", "1e5", "0x1",
    ]  # fmt: skip
    compared = 0
    for _ in range(100):
        statements = [
            f"{rng.choice(first)} {' '.join(rng.choices(words, k=rng.randrange(6)))};\n"
            for _ in range(5)
        ]
        script = "".join(statements).encode()
        done = subprocess.run(
            [postgres.bin_dir / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=0"],
            env=postgres.environment(database.name), input=script, capture_output=True, check=True,
        )  # fmt: skip
        counter = _Counter()
        for byte in range(0, len(script), 3):
            counter.feed(script[byte : byte + 3])
        # not one of them is right, and psql sends what is left at the end, too; behind a backslash
        # outside of everything it is on its own
        if not counter.commands:
            assert counter.ended + counter._open == done.stderr.count(b"ERROR:"), script
            compared += counter.ended
    assert compared > 150


class _Counter(Inspector):
    ended = commands = 0

    def _statement_end(self):
        self.ended += 1

    def _command(self, buffer, start, end):
        self.commands += 1
