"""Foreign keys around tables that are brought back."""

from __future__ import annotations

from postgres_backup.restore.foreign_keys import in_order, keys_around

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY)",
    (
        "CREATE TABLE orders (id int PRIMARY KEY, buyer int"
        " CONSTRAINT bought_by REFERENCES users ON DELETE CASCADE)"
    ),
    (
        "CREATE TABLE items (id int PRIMARY KEY, part_of int REFERENCES orders,"
        " beside int REFERENCES items)"
    ),
)
PARTS = (
    "CREATE TABLE days (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE monday PARTITION OF days FOR VALUES FROM (0) TO (10)",
    (
        "CREATE TABLE hours (id int PRIMARY KEY, day int CONSTRAINT of_day REFERENCES days)"
        " PARTITION BY RANGE (id)"
    ),
    "CREATE TABLE early PARTITION OF hours FOR VALUES FROM (0) TO (10)",
)


def test_parents_come_before_their_children(pair):
    both = pair(SHOP)
    named = [both.look(name) for name in ("items", "orders", "users", "public.items")]
    ordered = in_order(named, keys_around(both.live, named))
    assert [table.name for table in ordered] == ["users", "orders", "items"]


def test_a_key_of_a_partitioned_table_binds_its_partitions(pair):
    both = pair(PARTS)
    early, monday = both.look("early"), both.look("monday")
    for table in (early, monday):
        [key] = keys_around(both.live, [table])
        assert (key.name, key.child_name, key.parent_name) == ("of_day", "hours", "days")
        assert (key.on_delete, key.acts, key.ours, key.removable) == ("a", False, True, True)
    keys = keys_around(both.live, [early, monday])
    assert in_order([early, monday], keys) == [monday, early]
    # what is a partition of another comes with it
    hours = both.look("hours")
    assert in_order([early, hours], keys_around(both.live, [early, hours])) == [hours]
