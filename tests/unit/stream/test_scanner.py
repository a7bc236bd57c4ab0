"""The scanner finds what psql would find, wherever a dump is cut into pieces."""

import pytest

from postgres_backup.stream.scanner import Scanner


class Notes(Scanner):
    """What the hooks are told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[str, bytes]] = []
        self.rows = b""

    def _comment(self, buffer, start, end):
        self.notes.append(("comment", buffer[start:end]))

    def _decided(self, kind):
        self.notes.append(("statement", kind.encode()))

    def _copy(self, header):
        self.notes.append(("copy", header.table if header else b""))

    def _rows(self, buffer, start, end):
        self.rows += buffer[start:end]

    def _copy_end(self):
        self.notes.append(("rows", self.rows))
        self.rows = b""

    def _meta(self, buffer, start, end):
        self.notes.append(("meta", buffer[start:end]))

    def _problem(self, code, message):
        self.notes.append(("problem", code.encode()))


DUMP = b"""-- a comment; not a statement
SET client_encoding = 'LATIN1';
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $x$SELECT ';--$$\\.'$x$;
/* DROP /* nested; */ ; */ SELECT 'it''s; \\', E'\\'; ', "a;""b" FROM t;
COPY public.t (a) FROM stdin;
-- a row\\tnot a comment
\\\\.
\\.
\\connect x
"""
FOUND = [
    ("comment", b"-- a comment; not a statement"),
    ("statement", b"setting"),
    ("statement", b"routine"),
    ("statement", b"other"),
    ("statement", b"copy"),
    ("copy", b"public.t"),
    ("rows", b"-- a row\\tnot a comment\n\\\\.\n"),
    ("meta", b"\\connect x\n"),
]


@pytest.mark.parametrize("width", [1, 2, 3, 7, len(DUMP)])
def test_statements_comments_commands_and_rows_are_told_apart(width):
    scanner = Notes()
    for at in range(0, len(DUMP), width):
        scanner.feed(DUMP[at : at + width])
    assert scanner.notes == FOUND
    assert scanner.encoding == "LATIN1"
    assert scanner.bytes == len(DUMP)


def test_what_follows_a_copy_statement_on_its_line_is_a_problem():
    scanner = Notes()
    scanner.feed(b"COPY t FROM stdin; SELECT 1;\n\\.\n")
    assert ("problem", b"COPY_HEADER") in scanner.notes
