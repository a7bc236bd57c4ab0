"""Before the commit it is seen that no other table was written."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError


@pytest.mark.parametrize("counted", ["on", "off"])
def test_whatever_writes_to_another_table_takes_all_back(pair, counted):
    both = pair(
        (
            "CREATE TABLE log (what text)",
            (
                "CREATE FUNCTION noted(name text) RETURNS bool LANGUAGE plpgsql AS"
                " 'BEGIN INSERT INTO public.log VALUES (name); RETURN true; END'"
            ),
            "CREATE TABLE users (id int PRIMARY KEY, name text CHECK (noted(name)))",
            "INSERT INTO users VALUES (1, 'one')",
        ),
        "DELETE FROM users",
        "TRUNCATE log",
    )
    both.live.execute(f"SET track_counts = {counted}")
    both.live.commit()
    with pytest.raises(DatabaseError, match="log would have been changed too"):
        both.repair("users")
    assert both.ask("SELECT count(*) FROM users") == [(0,)]
    assert both.ask("SELECT count(*) FROM log") == [(0,)]
