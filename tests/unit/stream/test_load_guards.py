"""What the guards of a load add to a dump and leave out of it; the rows stay as they are."""

from postgres_backup.stream.load_guards import LAX, Placing, Undivided
from tests.unit.stream.dumps import HEADER, TRAILER, in_pieces


def passed(guard, text: bytes, width: int) -> bytes:
    dump = HEADER + text + TRAILER
    cut = in_pieces(dump, [width] * len(dump) if width else [])
    return b"".join([guard.filter(piece) for piece in cut])[len(HEADER) : -len(TRAILER)]


def test_in_one_transaction_of_ours_the_dumps_own_are_left_out():
    text = (
        b"BEGIN;\nSELECT pg_catalog.lo_open('1', 131072);\nCOMMIT;\nCREATE TABLE begun (a int);\n"
    )
    for width in (0, 1, 5):
        assert passed(Undivided(), text, width).split() == (
            b"SELECT pg_catalog.lo_open('1', 131072); CREATE TABLE begun (a int);".split()
        )


def test_each_table_is_filled_in_a_transaction_of_its_own():
    rows = b"1\n2\\tx\n"
    text = b"SET x = 1;\nCOPY public.t (a) FROM stdin;\n" + rows + b"\\.\nSELECT 2;\n"
    for width in (0, 1, 5):
        got = passed(Placing(), text, width)
        before, copy, after = got.partition(b"COPY public.t (a) FROM stdin;\n")
        assert copy
        assert before.startswith(b"SET x = 1;\nBEGIN;\n")
        assert b"THEN TRUNCATE TABLE ONLY public.t; END IF;" in before
        assert b"$table$public.t$table$::pg_catalog.regclass" in before
        assert after == rows + b"\\.\nCOMMIT;\nSELECT 2;\n"


def test_errors_count_from_the_first_statement_on_that_makes_something():
    text = b"DROP TABLE public.t;\nALTER TABLE public.u DROP CONSTRAINT c;\nCREATE TABLE t ();\n"
    for width in (0, 1, 5):
        dropping, strict, making = passed(Placing(cleaning=True), text, width).partition(
            b"\\set ON_ERROR_STOP 1\n"
        )
        assert strict
        assert dropping == b"DROP TABLE public.t;\nALTER TABLE public.u DROP CONSTRAINT c;\n"
        assert making == b"CREATE TABLE t ();\n"
    assert b"ON_ERROR_STOP" not in passed(Placing(), text, 0)
    assert LAX == b"\\set ON_ERROR_STOP 0\n"
