"""Foreign keys that are taken off and put on again exactly as they were."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError
from postgres_backup.restore.foreign_keys import keys_around
from postgres_backup.restore.loosened_keys import fasten, loosen

PARTS = (
    "CREATE TABLE days (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE monday PARTITION OF days FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE tuesday PARTITION OF days FOR VALUES FROM (10) TO (20)",
    (
        "CREATE TABLE hours (id int PRIMARY KEY, day int,"
        " CONSTRAINT of_day FOREIGN KEY (day) REFERENCES days ON DELETE SET DEFAULT"
        " ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED) PARTITION BY RANGE (id)"
    ),
    (
        "CREATE TABLE early (id int PRIMARY KEY, day int CONSTRAINT mine REFERENCES days"
        " ON DELETE SET DEFAULT ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED)"
    ),
    "ALTER TABLE hours ATTACH PARTITION early FOR VALUES FROM (0) TO (10)",
    "COMMENT ON CONSTRAINT of_day ON hours IS 'the day''s'",
    "COMMENT ON CONSTRAINT mine ON early IS 'its own'",
    "INSERT INTO days VALUES (1)",
    "INSERT INTO hours VALUES (1, 1)",
)
STATES = """
SELECT conrelid::regclass::text, conname, confrelid::regclass::text, pg_get_constraintdef(oid),
       convalidated, condeferred, obj_description(oid), conparentid <> 0
FROM pg_constraint WHERE contype = 'f' ORDER BY 1, 2, 3"""


@pytest.mark.every_major
def test_a_key_comes_back_as_it_was_for_every_partition(pair):
    both = pair(PARTS)
    before = both.live.execute(STATES).fetchall()
    loosened = loosen(both.live, keys_around(both.live, [both.look("monday")]))
    assert both.live.execute(STATES).fetchall() == []
    for key in loosened:
        fasten(both.live, key)
    assert both.live.execute(STATES).fetchall() == before
    assert {"of_day", "mine"} <= {name for _, name, *_ in before}


def test_rows_that_do_not_fit_any_more_are_told(pair):
    both = pair(PARTS)
    [key] = loosen(both.live, keys_around(both.live, [both.look("days")]))
    both.live.execute("DELETE FROM days")
    with pytest.raises(DatabaseError, match="rows of hours would belong to no row of days"):
        fasten(both.live, key)
