"""Triggers and rules, switched off and set back exactly as they were."""

from __future__ import annotations

from postgres_backup.postgresql.connection import value
from postgres_backup.restore.silence import silence

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
    (
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON users INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION note()"
    ),
    "ALTER TABLE users ENABLE ALWAYS TRIGGER every",
    "ALTER TABLE users DISABLE TRIGGER never",
    "CREATE RULE noted AS ON INSERT TO users DO ALSO INSERT INTO audit VALUES ('rule')",
    "ALTER TABLE users ENABLE REPLICA RULE noted",
)
STATES = """
SELECT string_agg(name || ' ' || state::text, ', ' ORDER BY name) FROM (
    SELECT tgname AS name, tgenabled AS state FROM pg_trigger
    UNION ALL SELECT rulename, ev_enabled FROM pg_rewrite WHERE ev_class = 'users'::regclass) x"""


def test_they_are_silent_and_then_as_they_were(pair):
    both = pair(SHOP)
    before = value(both.live, str, STATES)
    back = silence(both.live, both.look("users").relations)
    assert value(both.live, str, STATES) == "every D, late D, never D, noted D, usual D"
    both.live.execute("INSERT INTO users (name) VALUES ('silent')")
    both.live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for statement in back:
        both.live.execute(statement)
    assert value(both.live, str, STATES) == before
    assert before == "every A, late O, never D, noted R, usual O"
    assert value(both.live, int, "SELECT count(*) FROM audit") == 0
