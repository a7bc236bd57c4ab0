"""The words of a dump: what a COPY statement says, what a setting says, what a statement is."""

import pytest

from postgres_backup.stream import grammar


@pytest.mark.parametrize(
    ("statement", "header"),
    [
        (b"COPY public.t (a, b) FROM stdin;", (b"public.t", b"a, b", b"")),
        (b'COPY public."My t" ("a b") FROM stdin;', (b'public."My t"', b'"a b"', b"")),
        (b"copy t from STDIN;", (b"t", b"", b"")),
        (b"COPY /* x */ t ( a , b ) FROM stdin;", (b"t", b"a, b", b"")),
        (b"COPY t WITH OIDS FROM stdin;", (b"t", b"", b"WITH OIDS")),
        (b"COPY BINARY t FROM stdin;", (b"t", b"", b"BINARY")),
    ],
)
def test_a_copy_from_the_dump_itself(statement, header):
    assert grammar.read_copy(statement) == header


@pytest.mark.parametrize(
    "statement", [b"COPY t TO stdout;", b"COPY t FROM '/etc/passwd';", b"COPY (SELECT 1) TO x;"]
)
def test_a_copy_from_or_to_elsewhere_has_no_rows_behind_it(statement):
    assert grammar.read_copy(statement) is None


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (b"SET client_encoding = 'UTF8';", ("client_encoding", "UTF8")),
        (b"SET standard_conforming_strings TO off;", ("standard_conforming_strings", "off")),
        (
            b"SELECT pg_catalog.set_config('client_encoding', 'LATIN1', false);",
            ("client_encoding", "LATIN1"),
        ),
        (b"SET work_mem = '4MB';", None),
    ],
)
def test_settings_that_change_how_a_dump_reads(statement, says):
    assert grammar.read_setting(statement) == says


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("COPY", grammar.COPY),
        ("SET", grammar.SETTING),
        ("CREATE", None),
        ("CREATE TABLE", grammar.OTHER),
        ("CREATE OR REPLACE FUNCTION", grammar.ROUTINE),
        ("CREATE DATABASE", grammar.DATABASE),
        ("ALTER ROLE x", None),
        ("ALTER ROLE x IN DATABASE", grammar.DATABASE),
        ("ALTER ROLE x SUPERUSER", grammar.CLUSTER),
        ("DROP TABLESPACE", grammar.CLUSTER),
        ("GRANT a TO", grammar.CLUSTER),
        ("GRANT SELECT ON TABLE", grammar.OTHER),
        ("COMMENT ON DATABASE", grammar.DATABASE),
        ("SELECT PG_CATALOG . LO_OPEN (", grammar.LARGE_OBJECT),
    ],
)
def test_what_a_statement_is_by_its_first_words(words, kind):
    assert grammar.classify([word.encode() for word in words.split()]) == kind


def test_whole_statements_of_pg_dump_are_passed_over_at_once_and_traps_are_not():
    common = grammar.COMMON[True]
    text = b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c CHECK ((a <> ';'::text));\n"
    assert common.match(text * 3).end() == 3 * len(text)
    assert common.match(b"INSERT INTO t VALUES ('a;\n") is None
    assert common.match(b"INSERT INTO t VALUES (E'\\';\n'") is None
