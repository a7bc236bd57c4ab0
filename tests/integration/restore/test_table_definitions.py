"""What belongs to tables beside their rows: triggers and the numbers of their columns. The
definitions of a table that is gone are brought back in test_tables.py.
"""

from __future__ import annotations

from postgres_backup.postgresql.connection import value
from postgres_backup.restore.table_definitions import move_sequences_on, silence_triggers

SHOP = (
    "CREATE TABLE users (id serial PRIMARY KEY, name text)",
    "CREATE TABLE audit (what text)",
    (
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.audit VALUES (TG_NAME); RETURN NULL; END'"
    ),
    "CREATE TRIGGER usual AFTER INSERT ON users EXECUTE FUNCTION note()",
    "CREATE TRIGGER every AFTER INSERT ON users EXECUTE FUNCTION note()",
    "CREATE TRIGGER never AFTER INSERT ON users EXECUTE FUNCTION note()",
    "ALTER TABLE users ENABLE ALWAYS TRIGGER every",
    "ALTER TABLE users DISABLE TRIGGER never",
)
STATES = "SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger"


def test_triggers_are_silent_and_then_as_they_were(pair):
    both = pair(SHOP)
    before = value(both.live, str, STATES)
    back = silence_triggers(both.live, [both.look("users")])
    assert value(both.live, str, STATES) == "every D, never D, usual D"
    both.live.execute("INSERT INTO users (name) VALUES ('silent')")
    for statement in back:
        both.live.execute(statement)
    assert value(both.live, str, STATES) == before == "every A, never D, usual O"
    assert value(both.live, int, "SELECT count(*) FROM audit") == 0


def test_numbers_that_rows_have_used_are_not_given_out_again(pair):
    both = pair(SHOP)
    table = both.look("users")
    both.live.execute("INSERT INTO users VALUES (41, 'a'), (7, 'b')")
    move_sequences_on(both.live, table)
    query = "INSERT INTO users (name) VALUES ('next') RETURNING id"
    assert value(both.live, int, query) == 42
    both.live.execute("DELETE FROM users")
    move_sequences_on(both.live, table)
    assert value(both.live, int, query) == 43
