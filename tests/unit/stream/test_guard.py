"""The guard: nothing passes that could leave the database, and everything else does."""

import re

import pytest

from postgres_backup.errors import BadBackupError
from postgres_backup.stream import guard
from postgres_backup.stream.guard import Guard
from tests.unit.stream.dumps import HEADER, TRAILER, Taken, in_pieces


def passed(text, width=0):
    """What was handed on, as one text."""
    taken = Taken()
    reader, dump = Guard(taken), HEADER + text + TRAILER
    for piece in in_pieces(dump, [width] * len(dump) if width else []):
        reader.feed(piece)
    reader.finish()
    return taken


def refusal(text, width=0):
    """The error of the guard, and what it handed on before."""
    taken = Taken()
    reader = Guard(taken)
    for piece in in_pieces(HEADER + text, [width] * len(HEADER + text) if width else []):
        try:
            reader.feed(piece)
        except BadBackupError as error:
            return error, taken
    pytest.fail("the guard let everything pass")


def refused(text, width=0):
    error, taken = refusal(text, width)
    assert error.hint
    assert error.exit_status == 4
    assert b"\\!" not in taken.text
    return error.findings[0]["code"]


def test_what_pg_dump_create_adds_is_left_out():
    added = (
        b"DROP DATABASE IF EXISTS look;\nCREATE DATABASE look WITH TEMPLATE = template0;\n\n\n"
        b"ALTER DATABASE look OWNER TO postgres;\n\n"
        b"\\unrestrict a\n\\connect look\n\\restrict a\n\nCOMMENT ON DATABASE look IS 'x';\n"
        b"ALTER DATABASE look SET work_mem TO '5MB';\n\\connect look\n"
    )
    for width in (0, 1, 7):
        assert passed(added + b"SELECT 1;\n", width).text == b"SELECT 1;\n"


def test_a_database_with_an_odd_name():
    odd = b'\\encoding SQL_ASCII\n\\connect -reuse-previous=on "dbname=\'live ""1""; \\\\x\'"\n'
    for connect in (odd, b"\\c look\n", b"\\connect look\r\n"):
        assert passed(connect + b"SELECT 1;\n" + connect).text == b"SELECT 1;\n"


def test_statements_are_told_with_their_lines():
    text = (
        b"SET x = 1;\n\n-- Name: t; Type: TABLE\n--\n\nCREATE TABLE t (\n  a int\n);\n"
        b"COPY t (a) FROM stdin;\n1\n2\n\\.\n\nSELECT\n1; SELECT 2;\nALTER TABLE t OWNER TO x;\n"
    )
    for width in (0, 1, 7):
        assert passed(text, width).statements == [
            (b"SET x = 1;", 5),
            (b"CREATE TABLE t (\n  a int\n);", 10),
            (b"COPY t (a) FROM stdin", 13),
            (b"SELECT\n1;", 18),
            (b"SELECT 2;", 19),
            (b"ALTER TABLE t OWNER TO x;", 20),
        ]


def test_transactions_of_the_dump_are_told_and_not_handed_on():
    text = (
        b"BEGIN;\nSELECT pg_catalog.lo_open('1', 131072);\ncommit work;\nSTART TRANSACTION;\n"
        b"CREATE TABLE begun (a int);\nEND;\n"
    )
    for width in (0, 1, 5):
        taken = passed(text, width)
        assert taken.transactions == [True, False, True, False]
        assert [words for words, _ in taken.statements] == [
            b"SELECT pg_catalog.lo_open('1', 131072);",
            b"CREATE TABLE begun (a int);",
        ]


@pytest.mark.parametrize(
    "text",
    [
        b"COMMENT ON TABLE t IS '\n\\! id\n\\connect evil\nDROP DATABASE live;\n';\n",
        b"SELECT $x$\n\\! id\nDROP DATABASE live;\n$x$;\n",
        b'ALTER TABLE "\n\\! id\n;DROP DATABASE live;" OWNER TO x;\n',
        b"COPY public.t (a) FROM stdin;\n\\\\! id\nDROP DATABASE live;\n\\\\connect live\n\\.\n",
        b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n SELECT 1;\n SELECT 2;\nEND;\n",
        b"/* \\! id\nDROP DATABASE live; */ SELECT 1;\n",
        b"-- \\! id; DROP DATABASE live;\nSELECT 1;\n",
        b"GRANT SELECT ON TABLE public.database TO x;\nCREATE USER MAPPING FOR x SERVER y;\n",
        b"ALTER TABLE database RENAME TO role;\nCOMMENT ON COLUMN t.c IS 'ON DATABASE x';\n",
        (
            b"CREATE TABLE public.t (database text, role text);\n"
            b"DROP TABLE IF EXISTS public.database;\nSET ROLE x;\nSELECT 1 AS database;\n"
        ),
        (
            b'GRANT ALL("on"),UPDATE(database) ON TABLE public.t TO x;\n'
            b"REVOKE GRANT OPTION FOR SELECT ON TABLE t FROM x;\n"
        ),
    ],
)
def test_what_only_looks_dangerous_passes(text):
    wanted = re.sub(rb"^(?:/\*.*?\*/ |-- .*?\n)", b"", text, flags=re.DOTALL)
    for width in (0, 1, 3):
        assert passed(text, width).text == wanted


@pytest.mark.parametrize(
    "command",
    [
        b"\\! id\n", b"\\i /etc/passwd\n", b"\\copy t FROM '/etc/passwd'\n", b"  \\! id\n",
        b"SELECT 1 \\gexec\n", b"SELECT 1\\; SELECT 2;\n", b"SELECT 1 \\g | sh\n",
        b"\\set x `id`\n", b"SELECT (1,\n\\! id\n2);\n", b"SELECT \\connect x\n", b"\\o |sh\n",
        b"\\.\n", b"\\connect a \\! id\n", b"\\restrict a \\! id\n",
        b"\\encoding SQL_ASCII \\! id\n", b"\\connect \"a\" \\! id\n", b"\\\\\n", b"\\:x\n",
        b"\\" + b"x" * 100_000, b"SELECT '';\n\\! id\n", b"SELECT 'a\\';\n\\! id\n",
        b"SELECT a$b$;\n\\! id\n$b$;\n", b"-- x\r\\! id\n", b"/* /* */ */ \\! id\n",
        b"SELECT E'\\\\';\\! id\n", b'SELECT "";\\! id\n',
        b"COPY public.t (a) FROM stdin;\n1\n\\.\n\\! id\n",
        b"COPY public.t (a) FROM stdin;\n\\.\r\n\\! id\n", b"SELECT 'x' \\parse y\n",
        b"SELECT $$ $$ \\! id\n", b"COPY t TO stdout \\! id\n",
    ],
)  # fmt: skip
def test_no_meta_command_passes(command):
    for width in (0, 1, 5):
        assert refused(command, width).startswith("META_COMMAND")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (b"CREATE ROLE x;", "FOREIGN_STATEMENT"),
        (b"/* */ drop -- x\n role x;", "FOREIGN_STATEMENT"),
        (b"ALTER USER x SUPERUSER;", "FOREIGN_STATEMENT"),
        (b"GRANT a TO b;", "FOREIGN_STATEMENT"),
        (b"REVOKE ADMIN OPTION FOR a FROM b;", "FOREIGN_STATEMENT"),
        (b"ALTER SYSTEM SET x = 1;", "FOREIGN_STATEMENT"),
        (b"DROP TABLESPACE x;", "FOREIGN_STATEMENT"),
        (b"GRANT CREATE ON TABLESPACE x TO y;", "FOREIGN_STATEMENT"),
        (b"COMMENT ON ROLE x IS 'y';", "FOREIGN_STATEMENT"),
        (b"DROP OWNED BY x;", "FOREIGN_STATEMENT"),
        (b"COPY t FROM PROGRAM 'id';", "FOREIGN_STATEMENT"),
        (b"COPY t (a) FROM '/etc/passwd';", "FOREIGN_STATEMENT"),
        (b"COPY t TO PROGRAM 'cat';", "FOREIGN_STATEMENT"),
        (b"COPY (SELECT 1) TO stdout;", "FOREIGN_STATEMENT"),
        (b"COPY ) ();", "FOREIGN_STATEMENT"),
        (b"COPY t FROM stdin WITH (FORMAT csv);\n\\.\n", "FOREIGN_STATEMENT"),
        (b"COPY t FROM stdin; SELECT 1;\n\\.\n", "COPY_HEADER"),
        (b"CREATE USER mapping SUPERUSER;", "FOREIGN_STATEMENT"),
        (b"DROP USER mapping;", "FOREIGN_STATEMENT"),
        (b"LOAD '/tmp/evil.so';", "FOREIGN_STATEMENT"),
        (b"ROLLBACK;", "TRANSACTION_STATEMENT"),
        (b"COMMIT AND CHAIN;", "TRANSACTION_STATEMENT"),
        (b"savepoint x;", "TRANSACTION_STATEMENT"),
        (b"RELEASE x;", "TRANSACTION_STATEMENT"),
        (b"/* */ prepare /* */ transaction 'x';", "TRANSACTION_STATEMENT"),
        (b"COMMIT PREPARED 'x';", "TRANSACTION_STATEMENT"),
        (b"SELECT '\0';", "NUL_BYTE"),
        (b"-- \0\n", "NUL_BYTE"),
        (b"\\connect a\n\\connect b\n", "SEVERAL_DATABASES"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "CLUSTER_DUMP"),
        (b"COPY t (%b" % (b"a, " * 2_000_000), "STATEMENT_TOO_LONG"),
    ],
)
def test_no_statement_leaves_the_database(statement, code):
    for width in (0, 4096 if len(statement) > 10_000 else 1):
        error, taken = refusal(statement, width)
        assert error.findings[0]["code"] == code
        # nothing that could do harm
        assert taken.text in (b"", b"COPY t FROM stdin;\n")


def test_where_a_copy_reads_from_cannot_be_hidden():
    """A comment that ends elsewhere for the server than for who reads the header: what is handed on
    is composed of the table's name.
    """
    text = b"COPY t /* /* */ FROM stdin -- */ FROM PROGRAM 'id'\n;\n1\n\\.\n"
    assert passed(text).text == b"COPY t FROM stdin;\n1\n\\.\n"


def test_a_statement_that_is_too_large(monkeypatch):
    monkeypatch.setattr(guard, "STATEMENT_BYTES", 1 << 20)
    reader = Guard(Taken())
    reader.feed(HEADER + b"INSERT INTO t VALUES ('" + b"x" * 1_000_000)
    with pytest.raises(BadBackupError, match="the statement in line 5 is longer than 1 MiB"):
        reader.feed(b"x" * 100_000)


@pytest.mark.parametrize("encoding", ["SJIS", "BIG5", "GBK", "gb-18030", "UHC", "JOHAB"])
@pytest.mark.parametrize("off", [True, False], ids=["off", "on"])
def test_a_character_that_ends_like_a_backslash(encoding, off):
    """In these encodings 5C may be a character's second byte; then the quote behind it counts."""
    standard = b"SET standard_conforming_strings = off;\n" if off else b""
    quoted = b"SELECT %s'\x95\\';\nSELECT 2;\n" % (b"" if off else b"E")
    text = b"SET client_encoding = '%s';\n" % encoding.encode() + standard + quoted
    for width in (0, 1, 3):
        assert passed(text, width).text == text
    backslash = b"SELECT %s'\\\x95\\'; SELECT 3;'" % (b"" if off else b"E")
    assert passed(standard + backslash + b";\n").text == standard + backslash + b";\n"


def test_rows_pass_without_being_copied():
    taken = Taken()
    reader = Guard(taken)
    reader.feed(HEADER + b"COPY public.t (a) FROM stdin;\n")
    piece = b"1\n" * 100_000
    reader.feed(piece)
    assert taken.pieces[-1] is piece
