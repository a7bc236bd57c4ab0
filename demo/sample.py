"""A sample database with real variety, the same for the same seed: the books of an English school.

Most of it is what an application keeps; the rest is what backup programs stumble over (names,
values, code and comments that look like a dump). The rows are made inside the server, so that a
large database takes little longer than writing it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

#: rows at scale 1.0, about 24 MB of dump
USERS, GROUPS, LESSONS, ORDERS, PAYMENTS, MESSAGES = 6000, 300, 9000, 12_000, 20_000, 55_000
PHRASES = 997
_START = "timestamptz '2025-01-01 08:00+00'"
#: begins the names of the roles
ROLE_PREFIX = "school_"
#: object identifiers of the large objects; fixed, because a dump names them
LARGE_OBJECTS = (700_001, 700_002, 700_003)

_NASTY = (
    r"\.",
    (
        "\\.\n--\n-- PostgreSQL database dump complete\n--\n\n"
        "COPY public.users (id) FROM stdin;\n1\n\\.\n"
    ),
    r"\N",
    "",
    "tab\tnewline\ncarriage return\r\nvertical \v form \f bell \a backslash \\ quote ' \" $$ $1",
    "Қазақша әңгіме, русский, 日本語, עברית, é é, 🎓👩‍🏫, \u2028 line separator, \ufeff mark",
    r"\restrict x" + "\n" + r"\connect other" + "\n" + r"\! true",
    "-- comment\n/* open",
    "a very long line " + "x" * 300_000,
    "\\",
    "\n",
)

_WORDS = """
lesson homework grammar vocabulary tomorrow please thank teacher student group payment invoice
schedule cancel move room online speaking listening reading writing exam certificate level
progress report parents Monday Friday evening сабақ мұғалім рахмет урок домашнее задание спасибо
завтра оплата группа
""".split()
_FIRST = "Aigerim Dana Timur Ruslan Olga Ivan Айгүль Нұрлан Дәурен Мария Пётр Zoë Seán José".split()
_LAST = """Akhmetova Kim Petrov O'Neill Smith Жұмабаева Сейтқали Иванова
Núñez García-López Müller""".split()


def load(connection: psycopg.Connection | str, seed: int = 1, scale: float = 1.0) -> None:
    """Fill an empty database, in one transaction.

    :param connection: of a superuser, or its connection string. The objects will belong to the
        database's owner.
    :param seed: the same seed and scale give the same rows.
    :param scale: 1.0 is about 24 MB of dump, 42 about 1 GB; never less than a few rows of
        everything.
    :raises psycopg.Error: the database is not empty, or a role of that name exists.
    """
    if isinstance(connection, str):
        with psycopg.connect(connection) as opened:
            load(opened, seed, scale)
        return
    with connection.transaction():
        make_roles(connection, ROLE_PREFIX)
        fill(connection, seed, scale)
        grant(connection, ROLE_PREFIX)


def fill(connection: psycopg.Connection, seed: int, scale: float) -> None:
    """The tables and rows; in a transaction, as :func:`make_roles` before and :func:`grant` after
    it.
    """
    owner = sql.Identifier(_owner(connection))
    connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(owner))
    # No foreign keys looked up row by row: the rows fit by construction, and a restore checks
    # them anyway.
    connection.execute(
        """SET LOCAL session_replication_role = replica;
           SET LOCAL jit = off; SET LOCAL timezone = 'UTC'"""
    )
    with _as_owner(connection):
        connection.execute(Path(__file__).with_name("sample.sql").read_text(encoding="utf-8"))
        _fill(connection, seed, scale)
        _fill_nasty(connection)


def _owner(connection: psycopg.Connection) -> str:
    query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    return connection.execute(query).fetchone()[0]  # type: ignore[index]


@contextlib.contextmanager
def _as_owner(connection: psycopg.Connection) -> Iterator[None]:
    """What is made inside belongs to the database's owner; for the rest of the transaction we are
    again who we were.
    """
    (before,) = connection.execute("SELECT current_user").fetchone()  # type: ignore[misc]
    change = sql.SQL("SET LOCAL ROLE {}")
    connection.execute(change.format(sql.Identifier(_owner(connection))))
    yield
    connection.execute(change.format(sql.Identifier(before)))


def role_names(prefix: str = ROLE_PREFIX) -> dict[str, str]:
    """What the roles of a sample database are for -> their names."""
    return {kind: prefix + kind for kind in ("app", "readonly", "analyst", 'o\'quoted "role"')}


def fingerprint(connection: psycopg.Connection | str) -> dict[str, tuple[int, int]]:
    """Every table (partitions for themselves) -> its rows and a sum over their contents, whatever
    their order.

    Large objects and sequences count as tables ``large objects`` and ``sequences``. Asked of the
    server itself: it shares nothing with what counts the rows of a dump.
    """
    if isinstance(connection, str):
        with psycopg.connect(connection) as opened:
            return fingerprint(opened)
    with connection.transaction():
        connection.execute("SET LOCAL timezone = 'UTC'")
        tables = connection.execute(
            """SELECT n.nspname, c.relname
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_'
               AND n.nspname <> 'information_schema' ORDER BY 1, 2"""
        ).fetchall()
        facts = {}
        for schema, table in tables:
            query = sql.SQL(
                "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} t"
            ).format(sql.Identifier(schema, table))
            facts[f"{schema}.{table}"] = _pair(connection, query)
        facts["large objects"] = _pair(
            connection,
            """SELECT count(*),
                      coalesce(sum(hashtextextended(lo_get(oid)::text, oid::bigint)), 0)
               FROM pg_largeobject_metadata""",
        )
        facts["sequences"] = _pair(
            connection,
            """SELECT count(*), coalesce(sum(hashtextextended(
                      format('%s.%s %s', schemaname, sequencename, last_value), 0)), 0)
               FROM pg_sequences""",
        )
        return facts


def destroy(connection: psycopg.Connection | str) -> None:
    """A bad afternoon: a table dropped, another emptied, every balance overwritten."""
    if isinstance(connection, str):
        with psycopg.connect(connection) as opened:
            destroy(opened)
        return
    with connection.transaction():
        connection.execute("DROP TABLE public.messages")
        connection.execute("TRUNCATE billing.payments")
        connection.execute("UPDATE school.students SET balance = 0")


def _pair(connection: psycopg.Connection, query: str | sql.Composable) -> tuple[int, int]:
    rows, total = connection.execute(query).fetchone()  # type: ignore[misc, arg-type]
    return int(rows), int(total)


def make_roles(connection: psycopg.Connection, prefix: str) -> None:
    """Roles of these names, and what the database itself is set to for them."""
    roles = {kind: sql.Identifier(name) for kind, name in role_names(prefix).items()}
    app, readonly, analyst, quoted = roles.values()
    here = sql.Identifier(connection.info.dbname)
    statements = [
        sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 40").format(app),
        sql.SQL("CREATE ROLE {} NOLOGIN").format(readonly),
        sql.SQL(
            "CREATE ROLE {} LOGIN NOINHERIT PASSWORD 'sample' VALID UNTIL '2099-12-31 00:00+00'"
        ).format(analyst),
        sql.SQL("CREATE ROLE {} NOLOGIN").format(quoted),
        sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(readonly, app),
        sql.SQL("GRANT {} TO {}, {}").format(readonly, analyst, quoted),
        sql.SQL("COMMENT ON ROLE {} IS 'Reads; \\connect nowhere'").format(readonly),
        sql.SQL("ALTER ROLE {} SET statement_timeout = '10min'").format(app),
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(here),
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(here, app),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(here, readonly, quoted),
        sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Almaty'").format(here),
        sql.SQL('ALTER DATABASE {} SET search_path = public, school, "Old; ""import"""').format(
            here
        ),
        sql.SQL("ALTER DATABASE {} SET app.motto = 'it''s; a ''quoted'' one'").format(here),
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET work_mem = '8MB'").format(analyst, here),
        sql.SQL("COMMENT ON DATABASE {} IS 'The sample; -- of a school'").format(here),
    ]
    for statement in statements:
        connection.execute(statement)


def grant(connection: psycopg.Connection, prefix: str) -> None:
    """What those roles may do."""
    app, readonly, _, quoted = (sql.Identifier(name) for name in role_names(prefix).values())
    statements = [
        sql.SQL("GRANT USAGE ON SCHEMA school, billing TO {}, {}").format(app, readonly),
        sql.SQL(
            "GRANT SELECT, INSERT, UPDATE, DELETE "
            "ON ALL TABLES IN SCHEMA public, school, billing TO {}"
        ).format(app),
        sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public, school, billing TO {}").format(app),
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA school TO {} WITH GRANT OPTION").format(
            readonly
        ),
        sql.SQL("GRANT SELECT (id, role), UPDATE (active) ON public.users TO {}").format(quoted),
        sql.SQL("REVOKE EXECUTE ON FUNCTION billing.owed(bigint) FROM PUBLIC"),
        sql.SQL("GRANT EXECUTE ON FUNCTION billing.owed(bigint) TO {}").format(app),
        sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA school GRANT SELECT ON TABLES TO {}").format(
            readonly
        ),
        sql.SQL(
            "CREATE POLICY the_app ON billing.orders TO {} USING (true) WITH CHECK (total >= 0)"
        ).format(app),
        sql.SQL("GRANT SELECT ON LARGE OBJECT {} TO {}").format(sql.Literal(LARGE_OBJECTS[0]), app),
    ]
    with _as_owner(connection):
        for statement in statements:
            connection.execute(statement)


@dataclasses.dataclass(frozen=True)
class _Sample:
    """How much there is of what, and SQL of values by arithmetic on a hash of a row's number: the
    same on every major, unlike random().
    """

    seed: int
    scale: float

    def rows(self, count: int) -> int:
        """Rows of a table that has ``count`` at scale 1.0."""
        return max(int(count * self.scale), 20)

    @property
    def users(self) -> int:
        return self.rows(USERS)

    @property
    def teachers(self) -> int:
        return max(self.users // 60, 3)

    @property
    def students(self) -> int:
        return self.users - self.users // 10

    @property
    def groups(self) -> int:
        return self.rows(GROUPS)

    def words(self, column: str, salt: int, phrases: int) -> str:
        each = (
            "(SELECT phrase FROM pg_temp.phrases p "
            f"WHERE p.id = pg_temp.pick({column}, {salt + number}, {PHRASES}))"
            for number in range(phrases)
        )
        return " || ' ' || ".join(each)

    def name(self, column: str, salt: int) -> str:
        parts = ((_FIRST, salt), (_LAST, salt + 1))
        return " || ' ' || ".join(
            f"({_array(names)})[1 + pg_temp.pick({column}, {at}, {len(names)})]"
            for names, at in parts
        )

    def uuid(self, column: str, salt: int) -> str:
        return f"md5({column} || ' {self.seed} {salt}')::uuid"


def _fill(connection: psycopg.Connection, seed: int, scale: float) -> None:
    sample = _Sample(seed, scale)
    _make_helpers(connection, seed)
    queries = [
        *_people(sample),
        *_school(sample),
        *_billing(sample),
        *_messages(sample),
        "INSERT INTO public.no_columns SELECT FROM generate_series(1, 3)",
        "REFRESH MATERIALIZED VIEW billing.revenue",
    ]
    for query in queries:
        connection.execute(query)  # type: ignore[arg-type]
    connection.execute("DROP FUNCTION pg_temp.pick(bigint, int, int)")


def _make_helpers(connection: psycopg.Connection, seed: int) -> None:
    """The function ``pick(number, salt, n)``, and phrases to be picked."""
    connection.execute(
        f"CREATE FUNCTION pg_temp.pick(i bigint, salt int, n int) RETURNS int "
        "LANGUAGE sql IMMUTABLE AS "
        f"'SELECT ((hashint8extended(i, salt + {seed * 1000}) & 2147483647) % n)::int'"
    )
    # Arrays of words would be searched from their beginning for every word taken; a phrase costs
    # one look-up.
    connection.execute(
        f"""CREATE TEMPORARY TABLE phrases (id int PRIMARY KEY, phrase text) ON COMMIT DROP;
        INSERT INTO pg_temp.phrases SELECT i, (
            SELECT string_agg(
                ({_array(_WORDS)})[1 + pg_temp.pick(i * 10 + k, 0, {len(_WORDS)})], ' ')
            FROM generate_series(1, 6) k) FROM generate_series(0, {PHRASES - 1}) i;
        ANALYZE pg_temp.phrases"""
    )


def _people(sample: _Sample) -> list[str]:
    emails = _array(["example.com", "пример.example", "school.example"])
    languages, more_languages = _array(["kk", "ru", "en"]), _array(["kk", "ru", "de"])
    return [
        f"""INSERT INTO public.users
            (email, role, settings, tags, last_ip, token, home, active, created_at)
        SELECT 'user' || i || '@' || ({emails})[1 + i % 3],
               CASE WHEN i <= {sample.teachers} THEN 'teacher'
                    WHEN i % 500 = 0 THEN 'it''s; -- complicated'
                    ELSE 'student' END::public.user_role,
               jsonb_build_object('lang', ({languages})[1 + pg_temp.pick(i, 1, 3)],
                                  'unread', pg_temp.pick(i, 2, 40), 'path', 'C:\\new\\' || i,
                                  'nested', jsonb_build_array(i, NULL, i % 2 = 0, 'a"b')),
               CASE WHEN i % 4 = 0 THEN '{{}}'
                    ELSE ARRAY['t' || i % 7, 'with, comma', 'with "quote"', NULL] END,
               CASE WHEN i % 5 = 0 THEN '2001:db8::1'::inet + i ELSE '10.0.0.0'::inet + i END,
               {sample.uuid("i", 3)},
               CASE WHEN i % 3 = 0
                    THEN ROW('Алматы', 'Abay, ave. "1"', i % 200)::public.address END,
               i % 11 <> 0, {_START} + i * interval '17 minutes 3.25 seconds'
        FROM generate_series(1, {sample.users}) i""",
        f"""INSERT INTO school.teachers (user_id, full_name, hourly_rate, languages, works, photo)
        SELECT i, {sample.name("i", 5)}, 3000 + pg_temp.pick(i, 7, 900000) / 100.0,
               ARRAY['en', ({more_languages})[1 + i % 3]],
               daterange('2020-01-01'::date + i::int,
                         CASE WHEN i % 9 = 0 THEN '2026-06-01'::date + i::int END),
               CASE WHEN i % 2 = 0 THEN decode(repeat(md5(i || 'photo'), 60), 'hex') END
        FROM generate_series(1, {sample.teachers}) i""",
        f"""INSERT INTO school.students (user_id, full_name, born, level, balance, score, notes)
        SELECT i, {sample.name("i", 10)},
               CASE WHEN i % 13 <> 0 THEN date '1970-01-01' + pg_temp.pick(i, 12, 18000) END,
               (enum_range(NULL::school.level))[1 + pg_temp.pick(i, 13, 6)],
               (pg_temp.pick(i, 14, 2000000) - 500000) / 7.0,
               CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity'
                           ELSE pg_temp.pick(i, 15, 100000) / 3.0 END,
               CASE WHEN i % 3 = 0 THEN {sample.words("i", 20, 2)} WHEN i % 3 = 1 THEN '' END
        FROM generate_series({sample.users - sample.students + 1}, {sample.users}) i""",
    ]


def _school(sample: _Sample) -> list[str]:
    return [
        f"""INSERT INTO school.groups (title, level, teacher_id, weekly)
        SELECT 'Group ' || i || ' "' || chr(65 + pg_temp.pick(i, 40, 26)) || '"',
               (enum_range(NULL::school.level))[1 + pg_temp.pick(i, 41, 6)],
               1 + pg_temp.pick(i, 42, {sample.teachers}),
               jsonb_build_object('days', jsonb_build_array(i % 7, (i + 3) % 7), 'at', '18:30')
        FROM generate_series(1, {sample.groups}) i""",
        f"""INSERT INTO school.memberships
        SELECT 1 + i % {sample.groups}, 1000 + 10 * i, date '2025-09-01' + pg_temp.pick(i, 45, 300)
        FROM generate_series(0, {sample.students - 1}) i""",
        f"""INSERT INTO school.lessons (group_id, during, topic, homework)
        SELECT 1 + i % {sample.groups}, tstzrange(s, s + (45 + 15 * (i % 4)) * interval '1 minute'),
               {sample.words("i", 50, 1)},
               CASE WHEN i % 4 <> 0 THEN
                   jsonb_build_object('pages', jsonb_build_array(i % 90, i % 90 + 4),
                                      'due', (s + interval '3 days')::date,
                                      'text', {sample.words("i", 60, 1)}) END
        FROM generate_series(1, {sample.rows(LESSONS)}) i,
             LATERAL (SELECT {_START} + i * interval '53 minutes') t(s)""",
    ]


def _billing(sample: _Sample) -> list[str]:
    order = f"md5((1 + pg_temp.pick(i, 80, {sample.rows(ORDERS)})) || ' {sample.seed} 70')::uuid"
    return [
        f"""INSERT INTO billing.orders
        SELECT {sample.uuid("i", 70)}, 1000 + 10 * pg_temp.pick(i, 71, {sample.students}),
               1000 + pg_temp.pick(i, 72, 9000000) / 100.0,
               (enum_range(NULL::billing.order_status))[1 + pg_temp.pick(i, 73, 4)],
               jsonb_build_array(jsonb_build_object(
                   'course', 'English ' || i % 6, 'lessons', 4 + i % 20, 'discount', i % 3 = 0)),
               {_START} + i * interval '41 minutes'
        FROM generate_series(1, {sample.rows(ORDERS)}) i""",
        f"""INSERT INTO billing.payments (order_id, amount, paid_at, receipt)
        SELECT {order}, 500 + pg_temp.pick(i, 81, 5000000) / 100.0,
               timestamptz '2024-11-01 00:00+00'
                   + pg_temp.pick(i, 82, 62000000) * interval '1 second',
               CASE WHEN i % 2 = 0 THEN 'R-' || md5(i::text) END
        FROM generate_series(1, {sample.rows(PAYMENTS)}) i""",
    ]


def _messages(sample: _Sample) -> list[str]:
    text, key = sample.words("i", 100, 3), sample.uuid("i", 130)
    return [
        f"""INSERT INTO public.messages
            (sender_id, recipient_id, body, attachment, meta, sent_at, read_at)
        SELECT 1 + pg_temp.pick(i, 90, {sample.users}), 1 + pg_temp.pick(i, 91, {sample.users}),
               CASE WHEN i % 6 = 0 THEN E'Hello,\\n\\n\\t' ELSE '' END || {text}
                   || CASE WHEN i % 9 = 0 THEN E' C:\\\\temp\\n' ELSE '.' END,
               CASE WHEN i % 200 = 0 THEN decode(repeat(md5(i || 'file'), 200), 'hex') END,
               CASE WHEN i % 3 = 0
                    THEN jsonb_build_object('client', 'web/' || i % 12, 'ok', true) END,
               {_START} + i * interval '9 minutes 1.000001 seconds',
               CASE WHEN i % 4 <> 0 THEN {_START} + i * interval '9 minutes 7 seconds' END
        FROM generate_series(1, {sample.rows(MESSAGES)}) i""",
        f"""INSERT INTO public.sessions
        SELECT {key}, {_START} + i * interval '1 hour' FROM generate_series(1, 50) i""",
    ]


def _array(values: list[str]) -> str:
    """``ARRAY['a', 'b']`` of words of ours."""
    return "ARRAY[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"


def _fill_nasty(connection: psycopg.Connection) -> None:
    odd = sql.Identifier('Old; "import"', "Людей\nCOPY public.users (id) FROM stdin;")
    with connection.cursor() as cursor:
        for number, text in enumerate(_NASTY):
            cursor.execute("INSERT INTO public.notes (id, body) VALUES (%s, %s)", (number, text))
            cursor.execute(
                sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(odd),
                (number, text[::-1], text if number % 2 else None),
            )
        cursor.execute("INSERT INTO public.notes (id, body) VALUES (1000, NULL)")
        for number, oid in enumerate(LARGE_OBJECTS):
            data = (bytes(range(256)) * 64 + b"\\.\nCOPY public.users (id) FROM stdin;\n") * (
                4 * number
            )
            cursor.execute("SELECT lo_from_bytea(%s, %s)", (oid, data))
        cursor.execute(
            sql.SQL("COMMENT ON LARGE OBJECT {} IS 'the first; it is empty'").format(
                sql.Literal(LARGE_OBJECTS[0])
            )
        )
