"""Which of the saved statements make the missing roles, and how they are said to a server; what a
server makes of them is in tests/integration/restore/test_roles.py.
"""

from __future__ import annotations

import dataclasses

from postgres_backup.postgresql.facts import ServerFacts
from postgres_backup.restore import roles
from postgres_backup.restore.globals_file import read
from postgres_backup.restore.role_statements import (
    Attributes,
    CreateRole,
    Membership,
    RoleComment,
    RoleSetting,
    composed,
)

NEW = ServerFacts("18.1", 180001, 18, True, True, True, "/data", "1")
OLD = dataclasses.replace(NEW, version="15.14", version_number=150014, major=15)
TEXT = (
    "--\n-- It's a comment; with 'quotes\n--\n\n\\restrict abc'd\nSET x = on;\n\n"
    "CREATE ROLE \"a;b\";\nCOMMENT ON ROLE \"a;b\" IS 'one;\n-- two''s';\n"
    'GRANT "g""x" TO "a;b" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres;\n\n'
    "\\unrestrict abc'd\n"
)
ONE = CreateRole("a;b")
TWO = RoleComment("a;b", "one;\n-- two's")
THREE = Membership('g"x', "a;b", (("ADMIN", True), ("INHERIT", False)), "postgres")


def said(statement, major: int = 18) -> str:
    return composed(statement, major).as_string(None)


def test_statements_are_read_whole():
    """Names and texts may hold anything."""
    assert read(TEXT).statements == (ONE, TWO, THREE)
    assert read(TEXT).left_out == ()


def test_only_those_of_the_missing_roles_and_as_this_major_knows_them():
    statements = read(TEXT).statements
    granted = dataclasses.replace(THREE, grantor="")
    assert roles.chosen(statements, ["a;b", 'g"x'], set(), NEW) == [ONE, TWO, granted]
    assert said(granted) == 'GRANT "g""x" TO "a;b" WITH ADMIN TRUE, INHERIT FALSE'
    in_15 = roles.chosen(statements, ["a;b"], set(), OLD)
    assert said(in_15[-1], 15) == 'GRANT "g""x" TO "a;b" WITH ADMIN OPTION'
    assert roles.chosen(statements, ['g"x'], {"a;b"}, NEW) == []
    assert roles.chosen(statements, ["a;b"], {'g"x'}, NEW) == [ONE, TWO]


def test_what_only_a_superuser_may_mention_is_left_out_for_others():
    text = "ALTER ROLE clerk WITH NOSUPERUSER NOREPLICATION LOGIN PASSWORD 'NOSUPERUSER ';"
    [statement] = read(text).statements
    clerk = dataclasses.replace(NEW, superuser=False)
    assert roles.chosen([statement], ["clerk"], set(), NEW) == [statement]
    [left] = roles.chosen([statement], ["clerk"], set(), clerk)
    assert said(left) == "ALTER ROLE \"clerk\" WITH LOGIN PASSWORD 'NOSUPERUSER '"
    assert "NOSUPERUSER '" not in repr(left)


def test_every_kind_of_statement_that_a_pg_dumpall_writes():
    """From 9.6 (names in a list of settings, one option of a membership) to 18."""
    text = r"""
        CREATE ROLE Clerk;
        ALTER ROLE clerk WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION
            NOBYPASSRLS CONNECTION LIMIT 7 PASSWORD 'md5x' VALID UNTIL '2031-01-01 00:00:00+00';
        ALTER ROLE clerk SET search_path TO "$user", public;
        ALTER ROLE clerk SET "app.note" TO E'it''s \\ ; here';
        ALTER ROLE clerk IN DATABASE office SET work_mem TO '9MB';
        COMMENT ON ROLE clerk IS 'writes';
        GRANT staff TO clerk;
        GRANT pg_monitor TO clerk WITH ADMIN OPTION GRANTED BY postgres;
        CREATE TABLESPACE fast OWNER postgres LOCATION '/mnt/fast';
        GRANT SET ON PARAMETER log_statement TO clerk;
    """
    found = read(text)
    assert found.left_out == ()
    flags = (
        ("SUPERUSER", False),
        ("INHERIT", True),
        ("CREATEROLE", False),
        ("CREATEDB", True),
        ("LOGIN", True),
        ("REPLICATION", False),
        ("BYPASSRLS", False),
    )
    assert found.statements == (
        CreateRole("clerk"),
        Attributes("clerk", flags, 7, "md5x", "2031-01-01 00:00:00+00"),
        RoleSetting("clerk", "", "search_path", ("$user", "public")),
        RoleSetting("clerk", "", "app.note", ("it's \\ ; here",)),
        RoleSetting("clerk", "office", "work_mem", ("9MB",)),
        RoleComment("clerk", "writes"),
        Membership("staff", "clerk"),
        Membership("pg_monitor", "clerk", (("ADMIN", True),), "postgres"),
    )
    assert [said(statement) for statement in found.statements if statement][2:4] == [
        "ALTER ROLE \"clerk\" SET \"search_path\" TO '$user', 'public'",
        'ALTER ROLE "clerk" SET "app"."note" TO  E\'it\'\'s \\\\ ; here\'',
    ]


def test_what_is_of_no_such_kind_is_counted_and_never_said():
    """Among them what was once several statements to the server, and one to us."""
    text = r"""
        COMMENT ON ROLE clerk IS E'\''; CREATE ROLE evil SUPERUSER; --';
        CREATE ROLE evil LOGIN;
        CREATE ROLE evil; DROP TABLE x;
        ALTER ROLE clerk WITH LOGIN IN ROLE postgres;
        ALTER ROLE clerk RESET ALL;
        COMMENT ON ROLE clerk IS U&'\0041';
        COMMENT ON ROLE clerk IS E'\x41';
        COPY x FROM PROGRAM 'id';
        DO $do$ BEGIN; CREATE ROLE evil; END $do$;
        /* CREATE ROLE /* x */ evil; */ ALTER ROLE clerk RENAME TO evil;
        CREATE ROLE evil
    """
    found = read(text)
    # E'\'' is one quote, as it is to PostgreSQL, and what follows stands alone
    assert found.statements == (RoleComment("clerk", "'"), CreateRole("evil"))
    assert len(found.left_out) == 11
