"""Whose dump is it? By what it says itself."""

from __future__ import annotations

import pytest

from postgres_backup.verify.contents import Contents, archive_database
from tests.integration import engine


def contents_of(dump: bytes, piece: int = 0) -> Contents:
    contents = Contents()
    for at in range(0, len(dump), piece or len(dump)):
        contents.feed(dump[at : at + (piece or len(dump))])
    contents.finish()
    return contents


def with_statement(text: bytes) -> bytes:
    return engine.SMALL_DUMP.replace(b"SET statement_timeout = 0;\n", text + b"\n")


@pytest.mark.parametrize("piece", [0, 7])
@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"", set()),
        (b"CREATE DATABASE shop WITH TEMPLATE = template0;", {"shop"}),
        (b'CREATE DATABASE "my ""Shop""" ENCODING = \'UTF8\';', {'my "Shop"'}),
        (b"DROP DATABASE IF EXISTS shop;", {"shop"}),
        (b"COMMENT ON DATABASE shop IS 'CREATE DATABASE other;';", {"shop"}),
        (b"GRANT CONNECT ON DATABASE shop TO u;", {"shop"}),
        (b"ALTER ROLE u IN DATABASE shop SET work_mem TO '1MB';", {"shop"}),
        (b"\\connect shop\n", {"shop"}),
        (b'\\connect -reuse-previous=on "dbname=\'my ""Shop""\'"\n', {'my "Shop"'}),
        (b"\\connect shop\n\nCREATE DATABASE crm;", {"shop", "crm"}),
        (b"CREATE FUNCTION f() RETURNS int AS $$\nCREATE DATABASE x;\n$$ LANGUAGE sql;", set()),
        (b"-- CREATE DATABASE x;\n", set()),
    ],
)
def test_the_databases_that_a_dump_names(text, names, piece):
    assert contents_of(with_statement(text), piece).databases == names


def test_rows_that_look_like_statements_name_nothing():
    rows = b"CREATE DATABASE shop;\n\\\\connect shop\nCREATE TABLE public.x (\n"
    found = contents_of(engine.SMALL_DUMP.replace(b"1\n2\n", rows))
    assert (found.databases, found.tables) == (set(), {"public.t"})


@pytest.mark.parametrize("piece", [0, 1, 100])
def test_tables_whose_rows_come_as_inserts(piece):
    text = (
        b'CREATE UNLOGGED TABLE public."Odd one" (\n    x integer\n);\n\n\n'
        b'INSERT INTO public."Odd one" VALUES (1);\n\nCREATE TABLE users (\n    x integer\n);\n'
    )
    found = contents_of(with_statement(text), piece)
    assert found.tables == {"public.t", 'public."Odd one"', "users"}


def header(version: tuple[int, int, int], name: bytes) -> bytes:
    compression = b"\1" if version >= (1, 15, 0) else b"\0\6\0\0\0"
    times = b"".join(b"\0" + n.to_bytes(4, "little") for n in (1, 2, 3, 4, 5, 126, 0))
    length = b"\0" + len(name).to_bytes(4, "little")
    return b"PGDMP" + bytes(version) + b"\4\10\1" + compression + times + length + name + b"rest"


@pytest.mark.parametrize("version", [(1, 14, 0), (1, 15, 0), (1, 16, 0)])
def test_an_archive_names_its_database_in_its_head(version):
    """Made with both forms of the compression; pg_dump's own are in integration/nightly."""
    assert archive_database(header(version, "büro".encode())) == "büro"
    for cut in range(len(header(version, b"crm")) - 5):
        assert archive_database(header(version, b"crm")[:cut]) == ""
    assert archive_database(b"PGDMX" + b"\0" * 100) == ""
