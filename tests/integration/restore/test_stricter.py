"""Tables that demand more of their rows than they did when the backup was taken."""

from __future__ import annotations

import pytest

from postgres_backup.errors import DatabaseError

SHOP = (
    "CREATE TABLE item (id int PRIMARY KEY, a int, b int, CHECK (b < 1000))",
    "INSERT INTO item VALUES (1, NULL, 1), (2, 5, 1), (3, -1, 7)",
    "CREATE TABLE ev (id int, n int) PARTITION BY RANGE (id)",
    "CREATE TABLE ev_low PARTITION OF ev FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE ev_high PARTITION OF ev FOR VALUES FROM (10) TO (20)",
    "INSERT INTO ev VALUES (1, 1), (2, 1), (11, 1), (12, 2)",
)


@pytest.mark.parametrize(
    ("since", "said"),
    [
        ("UPDATE item SET a = 0 WHERE a IS NULL; ALTER TABLE item ALTER a SET NOT NULL", "a is NO"),
        (
            "DELETE FROM item WHERE a < 0; ALTER TABLE item ADD CONSTRAINT pos CHECK (a >= 0)",
            r"pos, CHECK \(\(a >= 0\)\)",
        ),
        (
            "DELETE FROM item; ALTER TABLE item ADD CONSTRAINT pos CHECK (a >= 0) NOT VALID",
            "the constraint pos",
        ),
        ("DELETE FROM item; ALTER TABLE item ADD CONSTRAINT once UNIQUE (b)", "constraint once"),
        (
            "DELETE FROM item; CREATE UNIQUE INDEX once ON item (abs(b)) WHERE id < 3",
            "once is a unique index",
        ),
        (
            "DELETE FROM item; ALTER TABLE item ADD CONSTRAINT far EXCLUDE (b WITH =)",
            "constraint far",
        ),
    ],
)
def test_it_is_said_before_anything_is_written(pair, since, said):
    both = pair(SHOP)
    both.live.execute(since)
    both.live.commit()
    before = both.ask("SELECT * FROM item ORDER BY id")
    for check in (True, False):
        with pytest.raises(DatabaseError, match=f"stricter now than in the backup.*{said}") as no:
            both.repair("item", check=check)
    assert both.ask("SELECT * FROM item ORDER BY id") == before
    both.live.execute(no.value.hint.partition("(")[2].partition(";")[0])
    both.live.commit()
    assert "public.item" in both.repair("item")[0]
    assert both.ask("SELECT * FROM item ORDER BY id") == [(1, None, 1), (2, 5, 1), (3, -1, 7)]


def test_what_the_rows_meet_is_no_hindrance(pair):
    both = pair(
        SHOP,
        "UPDATE item SET b = id WHERE a IS NULL",
        "ALTER TABLE item ADD colour int NOT NULL DEFAULT 7 CHECK (colour + b > 0)",
        "ALTER TABLE item ALTER b SET NOT NULL, ADD UNIQUE (id, a), ADD CHECK (b > 0)",
        # the row that is not written may be what it is
        "ALTER TABLE item ADD CHECK (a > -1) NOT VALID",
        "DELETE FROM item WHERE id = 2",
    )
    for check in (True, False):
        assert both.repair("item", check=check)[0] == {"public.item": (1, 0, 0)}


def test_a_partition_may_be_stricter_alone(pair):
    both = pair(SHOP, "TRUNCATE ev", "ALTER TABLE ev_high ADD CONSTRAINT once UNIQUE (n)")
    assert both.repair("ev", check=True)[0] == {"public.ev": (4, 0, 0)}
    both.live.execute("ALTER TABLE ev_low ADD CONSTRAINT single UNIQUE (n)")
    both.live.commit()
    with pytest.raises(DatabaseError, match=r"the constraint single, UNIQUE \(n\)") as refused:
        both.repair("ev")
    assert 'ALTER TABLE "public"."ev_low" DROP CONSTRAINT "single";' in refused.value.hint


def test_rows_that_are_not_of_a_type_any_more(pair):
    made = (
        "CREATE DOMAIN amount AS int",
        "CREATE TABLE price (id int PRIMARY KEY, n amount)",
        "INSERT INTO price VALUES (1, -1)",
    )
    both = pair(made, "DELETE FROM price", "ALTER DOMAIN amount ADD CHECK (VALUE > 0)")
    for check in (True, False):
        with pytest.raises(DatabaseError, match="not of the types that its columns have now"):
            both.repair("price", check=check)
