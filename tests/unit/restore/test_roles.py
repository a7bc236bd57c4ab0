"""Statements of pg_dumpall, read and chosen from as text; what a server makes of them is in
tests/integration/restore/test_roles.py.
"""

from __future__ import annotations

import dataclasses

from postgres_backup.postgresql.facts import ServerFacts
from postgres_backup.restore import roles

NEW = ServerFacts("18.1", 180001, 18, True, True, True, "/data", "1")
OLD = dataclasses.replace(NEW, version="15.14", version_number=150014, major=15)
TEXT = (
    "--\n-- It's a comment; with 'quotes\n--\n\n\\restrict abc'd\nSET x = on;\n\n"
    "CREATE ROLE \"a;b\";\nCOMMENT ON ROLE \"a;b\" IS 'one;\n-- two''s';\n"
    'GRANT "g""x" TO "a;b" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres;\n\n'
    "\\unrestrict abc'd\n"
)


def test_statements_are_read_whole():
    """Names and texts may hold anything."""
    assert roles._statements(TEXT) == [
        "SET x = on",
        'CREATE ROLE "a;b"',
        "COMMENT ON ROLE \"a;b\" IS 'one;\n-- two''s'",
        'GRANT "g""x" TO "a;b" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres',
    ]


def test_only_those_of_the_missing_roles_and_as_this_major_knows_them():
    statements = roles._statements(TEXT)
    wanted = [*statements[1:3], 'GRANT "g""x" TO "a;b" WITH ADMIN OPTION, INHERIT FALSE']
    assert roles._chosen(statements, ["a;b", 'g"x'], set(), NEW) == wanted
    in_15 = roles._chosen(statements, ["a;b"], set(), OLD)
    assert in_15[-1] == 'GRANT "g""x" TO "a;b" WITH ADMIN OPTION'
    assert roles._chosen(statements, ['g"x'], {"a;b"}, NEW) == []


def test_what_only_a_superuser_may_mention_is_left_out_for_others():
    statement = "ALTER ROLE clerk WITH NOSUPERUSER NOREPLICATION LOGIN PASSWORD 'NOSUPERUSER '"
    clerk = dataclasses.replace(NEW, superuser=False)
    assert roles._chosen([statement], ["clerk"], set(), NEW) == [statement]
    assert roles._chosen([statement], ["clerk"], set(), clerk) == [
        "ALTER ROLE clerk WITH LOGIN PASSWORD 'NOSUPERUSER '"
    ]
