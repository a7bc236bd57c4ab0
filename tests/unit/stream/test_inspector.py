"""The inspector: no text looks like a dump's own lines to it but those lines, however it comes in
pieces.
"""

import dataclasses
import hashlib
import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.errors import BadBackupError
from postgres_backup.stream import scanner
from postgres_backup.stream.guard import Guard
from postgres_backup.stream.inspector import Inspector
from tests.properties import examples
from tests.unit.stream.dumps import HEADER, TRAILER, Taken, in_pieces


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def inspect(data, pieces=None, kind=Inspector):
    inspector = kind()
    for piece in pieces if pieces is not None else [data]:
        inspector.feed(piece)
    return inspector.finish()


def body(text):
    return inspect(HEADER + text + TRAILER)


def codes(report):
    return [finding["code"] for finding in report.findings]


def facts(report):
    return {name: (table.rows, table.sha256) for name, table in report.tables.items()}


# --- dumps made of everything that could fool a reader, with what is true about them

TRAPS = [
    "'", '"', "\\", "\n", "\r\n", ";", "$", "$$", "$a$", "$_$", "$1", "--", "-", "/*", "*/", "/",
    "*", "(", ")", "\\.", "\n\\.\n", "\n\\.\r\n", "E'", "U&",
    "\nCOPY public.x (id) FROM stdin;\n1\n\\.\n",
    "\n-- PostgreSQL database dump complete\n--\n\n", "\n\\connect evil\n", "\\restrict x\n",
    "\n\\! id\n", "\nDROP DATABASE evil;\n", "begin", "END", "case", "BEGIN ATOMIC", "a", "Z",
    "_", "0", "9", " ", "\t", ":", "::text", "é", "日本", "INSERT INTO ",
    "\nSET standard_conforming_strings = off;\n",
]  # fmt: skip
WORDS = [
    "a$b$c",
    "E",
    "e",
    "x1",
    "größe",
    "now()",
    "t.id",
    "note",
    "_",
    "a$1",
    "::int",
    "1-2",
    "a/b",
    "-3",
    "@>",
    "$2",
    "$1$2",
]
text = st.lists(st.sampled_from(TRAPS), max_size=8).map("".join)


def dollar_quoted(content, tag):
    while (content + tag).find(tag) != len(content):
        tag = tag[:-1] + "x$"
    return tag + content + tag


def block_comment(content):
    plain = content.replace("/", "|").replace("*", "+")
    return f"/* {plain} /* nested {plain}*/ */"


@dataclasses.dataclass
class Part:
    """A piece of a dump: what it is, and what a reader must make of it."""

    dump: str
    table: str = ""
    rows: str = ""
    large_objects: int = 0
    dropped: bool = False


@st.composite
def tokens(draw, escapes, depth=2):
    kinds = ["string", "escape string", "name", "dollar", "block", "line", "word", "number"] + (
        ["parentheses"] if depth else []
    )
    kind, content = draw(st.sampled_from(kinds)), draw(text)
    match kind:
        case "string":
            content = content.replace("\\", "\\\\") if escapes else content
            return "'" + content.replace("'", "''") + "'"
        case "escape string":
            quote = draw(st.sampled_from(["''", "\\'"]))
            return (
                draw(st.sampled_from("eE"))
                + "'"
                + content.replace("\\", "\\\\").replace("'", quote)
                + "'"
            )
        case "name":
            return draw(st.sampled_from(["", "U&"])) + '"' + content.replace('"', '""') + '"'
        case "dollar":
            return dollar_quoted(content, draw(st.sampled_from(["$$", "$a$", "$_$", "$é1$"])))
        case "block":
            return block_comment(content)
        case "line":
            return "--" + content.replace("\n", " ").replace("\r", " ") + "\n"
        case "word":
            return draw(st.sampled_from(WORDS))
        case "number":
            return draw(st.sampled_from(["1", "1.5", "1e10", "0x1F", "-7", "- -1"]))
        case "parentheses":
            return "(" + draw(sequences(escapes, depth - 1)) + draw(st.sampled_from([")", ";)"]))


def sequences(escapes, depth=2):
    return st.lists(tokens(escapes, depth), max_size=4).map(" ".join)


BEGINNINGS = [
    "SELECT 1,", "CREATE TABLE public.t", "CREATE INDEX i ON t", "ALTER TABLE ONLY public.t ADD",
    "INSERT INTO public.t VALUES", "COMMENT ON TABLE t IS", "COMMENT ON SCHEMA s IS",
    "CREATE FUNCTION public.f() RETURNS int AS", "CREATE OR REPLACE PROCEDURE p() AS",
    "CREATE RULE r AS ON INSERT TO t DO", "UPDATE public.t SET a =",
    "GRANT SELECT(a, b) ON TABLE t TO", "DELETE FROM t WHERE", "SET search_path =",
    "CREATE USER MAPPING FOR", "(SELECT 1) UNION SELECT", "CREATE", "GRANT", "SELECT", "VALUES",
    "BEGIN", "CREATE TYPE t AS ENUM",
]  # fmt: skip
ABOUT_DATABASES = [
    'DROP DATABASE IF EXISTS "a;b";',
    "CREATE DATABASE look WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C;x';",
    "alter database look owner TO \"o;p\";",
    "ALTER DATABASE look SET search_path TO '$user', ';';",
    "COMMENT ON DATABASE look IS 'x;\ny';", "GRANT CREATE,CONNECT ON DATABASE look TO PUBLIC;",
    "REVOKE CONNECT,TEMPORARY ON DATABASE look FROM PUBLIC;",
    "SECURITY LABEL FOR x ON DATABASE look IS 'y';", "\\connect look\n",
    "UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = 'look';",
]  # fmt: skip


@st.composite
def tables(draw):
    name, columns = draw(text), draw(st.lists(text, max_size=3))
    cells = st.lists(
        text.map(
            lambda value: (
                value.replace("\\", "\\\\")
                .replace("\n", "\\n")
                .replace("\r", "\\r")
                .replace("\t", "\\t")
            )
        ),
        max_size=3,
    )
    quoted = ["".join(['"', column.replace('"', '""'), '"']) for column in columns]
    table = f'public."{name.replace(chr(34), chr(34) * 2)}"'
    rows = "".join("\t".join(row) + "\n" for row in draw(st.lists(cells, max_size=4)))
    listed = f"({', '.join(quoted)})" if quoted else ""
    return Part(
        f"COPY {table} {listed} FROM stdin;\n{rows}\\.\n\n\n",
        table,
        rows,
    )


@st.composite
def statements(draw, escapes):
    words = draw(sequences(escapes))
    if draw(st.booleans()):
        return Part(f"{draw(st.sampled_from(BEGINNINGS))} {words};\n")
    return Part(
        "CREATE FUNCTION f() RETURNS int\n LANGUAGE sql\n BEGIN ATOMIC\n"
        f" SELECT CASE WHEN true THEN 1 ELSE {words} 2 END;\n SELECT 2;\nEND;\n"
    )


def dumps(escapes=False):
    large_object = st.just(
        Part(
            "SELECT pg_catalog.lo_open('1', 131072);\nSELECT pg_catalog.lowrite(0, '\\x41');\n",
            large_objects=1,
        )
    )
    return st.lists(
        st.one_of(
            tables(),
            statements(escapes),
            large_object.map(
                lambda part: (
                    dataclasses.replace(part, dump=part.dump.replace("\\", "\\\\"))
                    if escapes
                    else part
                )
            ),
            st.sampled_from(ABOUT_DATABASES).map(lambda statement: Part(statement, dropped=True)),
            st.sampled_from(
                [
                    "\n",
                    ";\n",
                    "-- Name: it's; Type: TABLE\n",
                    "--\n",
                    "-- 'x\n",
                    "/* $a$ '' */\n",
                    "\r\n",
                ]
            ).map(Part),
        ),
        max_size=8,
    )


widths = st.lists(st.one_of(st.integers(1, 3), st.integers(1, 200)), max_size=400)


def test_bytes_of_which_nobody_asks_the_hash_are_inspected_as_well():
    data = HEADER + b"CREATE TABLE t (id integer);\nCOPY t (id) FROM stdin;\n1\n\\.\n" + TRAILER
    inspector = Inspector()
    inspector.hashes_all = False
    inspector.feed(data)
    whole = inspect(data)
    assert (whole.complete, whole.sha256) == (True, sha256(data))
    assert inspector.finish() == dataclasses.replace(whole, sha256="")


def check(parts, cuts, before=""):
    pieces = [part.dump.encode() for part in parts]
    data = HEADER + before.encode() + b"".join(pieces) + TRAILER
    expected = {}
    for part in parts:
        if part.table:
            expected[part.table] = expected.get(part.table, b"") + part.rows.encode()
    report = inspect(data, in_pieces(data, cuts))
    assert codes(report) == []
    assert report.complete
    assert facts(report) == {
        name: (rows.count(b"\n"), sha256(rows)) for name, rows in expected.items()
    }
    assert report.large_objects == sum(part.large_objects for part in parts)
    assert (report.bytes, report.sha256) == (len(data), sha256(data))
    rowless = [
        part.dump.replace(f"stdin;\n{part.rows}\\.", "stdin;\n\\.").encode()
        if part.table
        else part.dump.encode()
        for part in parts
    ]
    assert report.schema_sha256 == sha256(HEADER + before.encode() + b"".join(rowless) + TRAILER)
    assert report == inspect(data)

    taken, refused = Taken(), ""
    guard = Guard(taken)
    try:
        for piece in in_pieces(data, cuts):
            guard.feed(piece)
    except BadBackupError as error:
        refused = error.message
    if refused:
        assert "the BEGIN in line" in refused
        assert any(part.dump.startswith("BEGIN ") for part in parts)
    else:
        assert guard.finish() == report
        assert taken.text == before.encode() + b"".join(map(handed_on, parts))


def handed_on(part) -> bytes:
    """What a guard makes of a part: its statements, each on its line."""
    if part.table:
        rest = part.dump.removeprefix(f"COPY {part.table}").rstrip("\n") + "\n"
        return f"COPY {part.table}{rest.replace('  FROM', ' FROM', rest.startswith('  '))}".encode()
    if part.dropped or part.dump.startswith(("BEGIN ", "--", "/*")) or not part.dump.strip(";\r\n"):
        return b""
    return part.dump.encode()


@settings(max_examples=examples(250), deadline=None)
@given(parts=dumps(), cuts=widths)
def test_nothing_looks_like_a_dump_but_the_dump(parts, cuts):
    check(parts, cuts)


@settings(max_examples=examples(120), deadline=None)
@given(parts=dumps(escapes=True), cuts=widths)
def test_the_same_where_a_backslash_escapes_in_every_string(parts, cuts):
    check(parts, cuts, before="SET standard_conforming_strings = off;\n")


@settings(max_examples=examples(60), deadline=None)
@given(parts=dumps(), cuts=widths, data=st.data())
def test_a_part_of_a_dump_is_never_complete(parts, cuts, data):
    whole = HEADER + b"".join(part.dump.encode() for part in parts) + TRAILER
    at = data.draw(st.integers(0, len(whole) - 1))
    assert codes(inspect(whole[:at], in_pieces(whole[:at], cuts)))


@settings(max_examples=examples(100), deadline=None)
@given(junk=st.binary(max_size=400), cuts=widths)
def test_bytes_that_are_no_dump_are_read_to_their_end(junk, cuts):
    report = inspect(junk, in_pieces(junk, cuts))
    assert not report.complete
    assert report == inspect(junk)


# --- particular dumps


def test_a_dump_byte_by_byte():
    versions = (
        b"-- Dumped from database version 16.14 (Debian 16.14-1)\n"
        b"-- Dumped by pg_dump version 18.4\n\nSET client_encoding = 'UTF8';\n"
    )
    rows = b'COPY public.a (id, "b c") FROM stdin;\n1\tx\\\\.y\n2\t\\N\n\\.\n\n\n'
    rows += (
        b"COPY public.empty (id) FROM stdin;\n\\.\n\n\nCOPY public.bare  FROM stdin;\n\n\n\\.\n\n\n"
    )
    dump = HEADER + b"\\restrict a\n\n" + versions + rows + TRAILER + b"\\unrestrict a\n\n"
    report = inspect(dump)
    assert report.complete
    assert {
        name: (table.rows, table.bytes, table.columns) for name, table in report.tables.items()
    } == {
        "public.a": (2, 13, 'id, "b c"'),
        "public.empty": (0, 0, "id"),
        "public.bare": (2, 2, ""),
    }
    assert report.tables["public.a"].sha256 == sha256(b"1\tx\\\\.y\n2\t\\N\n")
    assert (report.rows, report.server_version, report.program_version) == (4, "16.14", "18.4")
    for width in (1, 2, 3, 5, 7):
        assert inspect(dump, in_pieces(dump, [width] * len(dump))) == report
    assert inspect(dump, [memoryview(dump)[:100], bytearray(dump[100:])]) == report
    assert [at for at in range(len(dump)) if inspect(dump[:at]).complete] == []


def test_versions_times_and_restrict_lines_do_not_change_the_schema():
    def dump(key, server, started=b""):
        versions = (
            b"-- Dumped from database version "
            + server
            + b"\n-- Dumped by pg_dump version "
            + server
            + b"\n\n"
        )
        return (
            HEADER
            + b"\\restrict "
            + key
            + b"\n"
            + versions
            + started
            + b"SELECT 1;\n"
            + TRAILER
            + b"\\unrestrict "
            + key
            + b"\n\n"
        )

    one, two = inspect(dump(b"abc", b"16.1")), inspect(dump(b"xyz", b"16.2"))
    assert one.complete
    assert one.sha256 != two.sha256
    assert one.schema_sha256 == two.schema_sha256
    other = inspect(dump(b"abc", b"16.1").replace(b"SELECT 1", b"SELECT 2"))
    assert other.schema_sha256 != one.schema_sha256
    assert inspect(dump(b"a", b"1", b"-- Started on 2026-01-01 00:00:00 UTC\n")) != inspect(
        dump(b"a", b"1", b"-- Started on 2026-01-02 00:00:00 UTC\n")
    )


def test_which_objects_there_are_reads_alike_in_every_minor_version():
    above = "-- Name: {}; Type: {}; Schema: public; Owner: a\n--\n\n"
    table = above.format("t", "TABLE") + "CREATE TABLE public.t (i int);\n"
    view = above.format("v", "VIEW") + "CREATE VIEW public.v AS SELECT 1;\n"
    sub = "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false{});\n"
    old = (f"--\n{table}--\n{view}" + sub.format("")).encode()
    new = ("SET x = 0;\n" + f"--\n{view}--\n{table}" + sub.format(", two_phase = off")).encode()
    whole = HEADER + old + TRAILER
    objects = inspect(whole).objects
    assert {inspect(whole, in_pieces(whole, [cut])).objects for cut in range(0, len(whole), 7)} == {
        objects
    }
    assert body(new).objects == objects
    assert body(new).schema_sha256 != body(old).schema_sha256
    for other in (old.replace(b"Owner: a", b"Owner: b", 1), old.replace(view.encode(), b"")):
        assert body(other).objects != objects


def test_the_table_in_hand_is_named():
    inspector = Inspector()
    inspector.feed(HEADER + b'COPY public."My table" (id) FROM stdin;\n1\n')
    assert inspector.current_table == 'public."My table"'
    inspector.feed(b"2\n\\.\n")
    assert inspector.current_table == ""


def test_parts_of_one_table_count_together():
    report = body(
        b"COPY public.t (id) FROM stdin;\n1\n\\.\n\nCOPY public.t (id) FROM stdin;\n2\n3\n\\.\n\n"
    )
    assert facts(report) == {"public.t": (3, sha256(b"1\n2\n3\n"))}


def test_a_dump_with_carriage_returns():
    report = inspect(
        (HEADER + b"COPY public.t (id) FROM stdin;\n1\n2\n\\.\n\nSELECT 1;\n" + TRAILER).replace(
            b"\n", b"\r\n"
        )
    )
    assert report.complete
    assert report.tables["public.t"].rows == 2


def test_a_carriage_return_ends_a_comment():
    """psql goes on behind it, and so must we."""
    report = body(b"-- x\rCOPY public.t (id) FROM stdin;\n1\n\\.\n")
    assert report.tables["public.t"].rows == 1


@pytest.mark.parametrize(
    ("header", "name", "columns"),
    [
        (b"COPY t FROM stdin;", "t", ""),
        (b"copy public.t(a,b) from STDIN;", "public.t", "a, b"),
        (b"COPY public.t (a, b) WITH OIDS FROM stdin;", "public.t", "a, b"),
        (
            b'COPY "a ""(b);\nFROM stdin; c"."d" ("x)", y) FROM stdin;',
            '"a ""(b);\nFROM stdin; c"."d"',
            '"x)", y',
        ),
        (b'COPY public."a\n\nb"\n(id)\nFROM\nstdin\n;', 'public."a\n\nb"', "id"),
        (b'COPY U&"d\\0061t" (U&"\\0061") FROM stdin;', 'U&"d\\0061t"', 'U&"\\0061"'),
        (b"/* x */ COPY /* y; */ public.t -- (no);\n (id) FROM stdin;", "public.t", "id"),
        (b"COPY public.t$1 (a$b$) FROM stdin;", "public.t$1", "a$b$"),
        (b"COPY public.t (id) FROM stdin;  ", "public.t", "id"),
    ],
)
def test_copy_headers(header, name, columns):
    dump = HEADER + header + b"\n1\n\\.\n" + TRAILER
    for report in (inspect(dump), inspect(dump, in_pieces(dump, [1] * len(dump)))):
        assert report.complete
        assert facts(report) == {name: (1, sha256(b"1\n"))}
        assert report.tables[name].columns == columns


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("LATIN1", "latin-1"),
        ("EUC_JP", "euc-jp"),
        ("WIN1251", "cp1251"),
        ("KOI8R", "koi8-r"),
        ("UTF8", "utf-8"),
    ],
)
def test_names_in_the_encoding_of_the_dump(encoding, codec):
    name = {"EUC_JP": "住所録", "WIN1251": "Учёт", "KOI8R": "Учёт"}.get(encoding, "Größe")
    text = f"SET client_encoding = '{encoding}';\nCOPY public.\"{name}\" (id) FROM stdin;\n1\n\\.\n"
    report = body(text.encode(codec))
    assert list(report.tables) == [f'public."{name}"']


def test_names_in_no_encoding():
    report = body(
        b"SET client_encoding = 'SQL_ASCII';\nCOPY public.\"\xff\xfe\" (id) FROM stdin;\n1\n\\.\n"
    )
    assert list(report.tables) == ['public."\\xff\\xfe"']


def test_standard_conforming_strings_are_followed():
    rows = b"COPY public.t (id) FROM stdin;\n1\n\\.\n"
    dump = (
        b"SET standard_conforming_strings = off;\nSELECT 'it\\'s; \\\\';\n%b"
        b"SET standard_conforming_strings = on;\nSELECT 'a\\';\n%b" % (rows, rows)
    )
    assert body(dump).complete
    assert body(dump).tables["public.t"].rows == 2
    assert body(
        dump.replace(
            b"SET standard_conforming_strings = on",
            b"SELECT pg_catalog.set_config('standard_conforming_strings', 'on', false)",
        )
    ).complete


@pytest.mark.parametrize(
    ("dump", "code"),
    [
        (b"", "HEADER_MISSING"),
        (b"PGDMP\x01\x0e", "HEADER_MISSING"),
        (TRAILER, "HEADER_MISSING"),
        (HEADER, "TRAILER_MISSING"),
        (HEADER + b"COPY public.t (id) FROM stdin;\n1\n", "COPY_UNFINISHED"),
        (HEADER + b"COPY public.t (id) FROM stdin;\n1\n\\.", "COPY_UNFINISHED"),
        (HEADER + b"COPY public.t (id) FROM stdin;", "COPY_UNFINISHED"),
        (HEADER + b"COPY public.t (id) FROM std", "STATEMENT_UNFINISHED"),
        (HEADER + b"SELECT 'x", "STATEMENT_UNFINISHED"),
        (HEADER + b"SELECT 'x\n" + TRAILER, "STATEMENT_UNFINISHED"),
        (HEADER + b"SELECT $x$\n" + TRAILER, "STATEMENT_UNFINISHED"),
        (HEADER + b"/* /* */\n" + TRAILER, "STATEMENT_UNFINISHED"),
        (
            HEADER + b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\nSELECT 1;\n" + TRAILER,
            "STATEMENT_UNFINISHED",
        ),
        (HEADER + b"SELECT (1;\n" + TRAILER, "STATEMENT_UNFINISHED"),
        (HEADER + b"-- PostgreSQL database dump complet", "TRAILER_MISSING"),
        (HEADER + b"-- PostgreSQL database dump complete", "TRAILER_MISSING"),
        (HEADER + b"-- PostgreSQL database dump complete\n", "TRAILER_CUT"),
        (HEADER + b"\\restrict a\n" + TRAILER, "TRAILER_CUT"),
        (HEADER + b"\\restrict a\n" + TRAILER + b"\\unrestrict b\n\n", "TRAILER_CUT"),
        (HEADER + b"\\restrict a\n" + TRAILER + b"\\unrestrict a", "TRAILER_CUT"),
        (HEADER + TRAILER + b"SELECT 1;\n", "TRAILER_NOT_LAST"),
        (HEADER + TRAILER + b"COPY public.t (id) FROM stdin;\n\\.\n", "TRAILER_NOT_LAST"),
        (HEADER + TRAILER + b"\\connect x\n", "TRAILER_NOT_LAST"),
        (HEADER + b"COPY public.t (id) FROM stdin; SELECT 1;\n1\n\\.\n" + TRAILER, "COPY_HEADER"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n" + HEADER + TRAILER, "TRAILER_MISSING"),
    ],
)
def test_what_is_not_whole_is_called_by_name(dump, code):
    for report in (inspect(dump), inspect(dump, in_pieces(dump, [1] * len(dump)))):
        assert code in codes(report)
        assert not report.complete
        assert all(finding["message"].endswith(".") for finding in report.findings)


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"\n\n",
        b"-- made by hand\n/* so */\n",
        b"\\unrestrict a\n\n",
        b"-- " + b"x" * 5000 + b"\n",
    ],
)
def test_what_may_follow_the_trailer(end):
    dump = HEADER + (b"\\restrict a\n" if b"unrestrict" in end else b"") + TRAILER + end
    assert inspect(dump).complete
    assert inspect(dump, in_pieces(dump, [1] * len(dump))).complete


def test_a_cluster_dump_is_called_so_and_ends_with_its_own_trailer():
    cluster = (
        b"--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE a;\n\n%b"
        b"--\n-- PostgreSQL database cluster dump complete\n--\n\n"
    )
    assert codes(inspect(cluster % (HEADER + TRAILER + HEADER + TRAILER))) == ["CLUSTER_DUMP"]
    assert codes(inspect(cluster % b"")) == ["CLUSTER_DUMP"]


def test_two_dumps_in_a_row_are_two():
    """Of two databases, perhaps."""
    rows = b"COPY public.t (id) FROM stdin;\n1\n\\.\n"
    assert codes(inspect(HEADER + TRAILER + HEADER + rows + TRAILER)) == ["SEVERAL_DUMPS"]


def test_rows_for_which_nothing_is_made_are_told():
    copied = b"COPY public.t (id) FROM stdin;\n1\n\\.\n"
    inserted = b"INSERT INTO public.t VALUES (1, 'CREATE ');\n" * 3
    made = (b"CREATE TABLE public.t (id int);\n", b"CREATE EXTENSION has_tables;\n")
    for before, told in (
        (b"", "public.t"),
        (b"SET a = 1;\n", "public.t"),
        *((m, "") for m in made),
    ):
        for rows, widths in itertools.product((copied, inserted), ([], [1] * 500)):
            inspector = Inspector()
            for piece in in_pieces(HEADER + before + rows + TRAILER, widths):
                inspector.feed(piece)
            assert inspector.finish().complete
            assert inspector.rows_alone == told


def test_a_mark_of_the_byte_order_is_passed_over_as_by_psql():
    dump = b"\xef\xbb\xbf" + HEADER + TRAILER
    for pieces in ([dump], in_pieces(dump, [1] * 200)):
        marked = inspect(dump, pieces)
        assert marked.findings == []
        assert marked.schema_sha256 == inspect(HEADER + TRAILER).schema_sha256
        assert marked.bytes == len(dump)
    assert "STATEMENT_UNFINISHED" in codes(inspect(b"\xef\xbb"))


@pytest.mark.parametrize("size", [1 << 10, 1 << 16, 1 << 20, (1 << 20) + 1])
def test_rows_over_the_borders_of_pieces(size):
    rng = random.Random(size)
    rows = b"".join(
        rng.choice([b"\\\\.\n", b"\n", b"\\N\t\\\\x00\n", b".\n", b"x" * 100 + b"\n", b"\\r\\n\n"])
        for _ in range(120_000)
    )
    dump = HEADER + b"COPY public.t (a) FROM stdin;\n" + rows + b"\\.\n\n" + TRAILER
    report = inspect(dump, in_pieces(dump, [size] * (len(dump) // size + 1)))
    assert report.complete
    assert facts(report) == {"public.t": (rows.count(b"\n"), sha256(rows))}


def test_the_end_of_the_rows_cut_everywhere():
    dump = HEADER + b"COPY public.t (a) FROM stdin;\n1\n\\\\.\n2\n\\.\r\n" + TRAILER
    whole = inspect(dump)
    assert facts(whole) == {"public.t": (3, sha256(b"1\n\\\\.\n2\n"))}
    for first in range(len(dump)):
        for second in range(first, len(dump)):
            assert inspect(dump, [dump[:first], dump[first:second], dump[second:]]) == whole


#: of each kind one statement that is twice as long as what is held (made where it is needed: nine
#: are 270 MB)
ENDLESS = {
    "string": lambda: b"COMMENT ON TABLE t IS '%b';\n" % (b"it''s a long text " * 2_000_000),
    "dollar": lambda: b"CREATE FUNCTION f() RETURNS int AS $x$%b$x$;\n" % (b"y$ " * 10_000_000),
    "rows by INSERT": lambda: b"INSERT INTO t VALUES %b(2);\n" % (b"(1, 'x;', -5),\n" * 2_000_000),
    "large object": lambda: b"SELECT pg_catalog.lowrite(0, '\\x%b');\n" % (b"00ff" * 8_000_000),
    "numbers": lambda: b"SELECT %b1;\n" % (b"1+" * 16_000_000),
    "comment": lambda: b"-- %b\n" % (b"comment " * 4_000_000),
    "block comment": lambda: b"/* %b */" % (b"comment " * 4_000_000),
    "header": lambda: b"COPY t (%b) FROM stdin;\n" % (b"a, " * 10_000_000),
    "meta command": lambda: b"\\x%b\n" % (b" " * 32_000_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_memory_is_bounded_whatever_the_statement(kind):
    inspector, statement, size = Inspector(), ENDLESS[kind](), 256 << 10
    inspector.feed(HEADER)
    tracemalloc.start()
    try:
        for at in range(0, len(statement), size):
            inspector.feed(statement[at : at + size])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * scanner.HELD_BYTES
    inspector.feed(TRAILER)
    assert inspector.finish().complete == (statement[:4] != b"COPY" and statement[:1] != b"\\")
