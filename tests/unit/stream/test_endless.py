"""No text keeps a reader busy for ever: the time that it takes grows with its length.

What took minutes or longer before is here as it was found; a reader that hangs is ended by
pytest's own patience.
"""

from __future__ import annotations

import contextlib
import random

import pytest

from postgres_backup.errors import BadBackupError
from postgres_backup.stream.guard import Guard
from tests.properties import examples

HEADER = b"--\n-- PostgreSQL database dump\n--\n\n"
LENGTH = 40_000
FOUND = {
    "line ends between statements": b"SELECT 1;" + b"\n" * LENGTH + b"x",
    "a role whose name is quotes": b"ALTER ROLE " + b'"' * LENGTH,
    "quotes and words": b"ALTER ROLE " + b'"=BEGIN ' * (LENGTH // 8),
    "spaces behind connect": b"\\connect " + b" " * 16_000 + b';"\n',
    "privileges without an end": b"GRANT " + b"a," * LENGTH,
}
ATOMS = (
    b"\n", b" ", b"a", b"a ", b"1", b"'", b"''", b'"', b'""', b"(", b")", b"()", b"-", b"--",
    b"--\n", b"/*", b"*/", b"/", b"*", b"$", b"$$", b"$a$", b";", b";\n", b"\\", b"\\'", b"e'",
    b"E", b",", b":x", b":", b"-- Name: \n", b"-- ", b"\r", b"COPY ", b"BEGIN ", b"CASE ", b"END ",
    b"SET ", b"INSERT INTO ", b"COMMENT ON TABLE ", b"ALTER TABLE ", b"CREATE ", b"BEGIN ATOMIC ",
    b"(a(", b"x)", b"'a'", b"\xc3\xa9", b"FROM ", b"stdin ", b"=",
)  # fmt: skip
HEADS = (
    b"", b"COPY t FROM PROGRAM ", b"COPY t (", b'COPY "', b"INSERT INTO t VALUES (",
    b"COMMENT ON TABLE t IS '", b"CREATE FUNCTION f() RETURNS int LANGUAGE sql ",
    b"CREATE FUNCTION f() AS $$", b"SET x = ", b"SELECT pg_catalog.set_config('",
    b"COPY t FROM stdin WITH (", b"COPY t FROM PROGRAM $$", b"/*", b"--", b"\\connect ", b"\\",
    b"ALTER ROLE ", b"GRANT ", b"SELECT 1 ", b"CREATE ",
    b"SET client_encoding = 'SJIS';\nSELECT E'",
    b"SET standard_conforming_strings = off;\nSELECT '",
)  # fmt: skip
ENDS = (b"", b";\n", b"$$;\n", b"';\n", b"*/;\n", b");\n")


class Nobody:
    """Takes whatever a dump is made of."""

    def statement(self, *_): ...
    def transaction(self, *_): ...
    def copy(self, *_): ...
    def rows(self, *_): ...
    def copy_end(self): ...


def read(text: bytes, width: int) -> None:
    with contextlib.suppress(BadBackupError):
        guard = Guard(Nobody())
        for at in range(0, len(text), width):
            guard.feed(text[at : at + width])


@pytest.mark.parametrize("what", FOUND)
@pytest.mark.parametrize("width", [1000, 10**7])
def test_what_was_found(what, width):
    read(HEADER + FOUND[what] + b";\n", width)


@pytest.mark.hypothesis  # part of make fuzz
@pytest.mark.timeout(3600)
def test_repetitions_at_random():
    rng = random.Random(26)
    for _ in range(examples(50)):
        again, also = (b"".join(rng.choices(ATOMS, k=rng.randrange(1, 4))) for _ in range(2))
        text = rng.choice(HEADS) + again * (LENGTH // len(again)) + rng.choice(ATOMS)
        text += also * (rng.choice((0, LENGTH)) // len(also)) + rng.choice(ENDS)
        read(HEADER + text, rng.choice((10**4, 10**7)))
