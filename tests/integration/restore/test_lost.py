"""What went away with a table that was dropped. Views, policies and large objects are told in
test_repair.py.
"""

from __future__ import annotations

from postgres_backup.restore.lost import lost_keys

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY)",
    "CREATE TABLE orders (id int PRIMARY KEY, buyer int CONSTRAINT bought_by REFERENCES users)",
    "INSERT INTO users VALUES (1), (2)",
    "INSERT INTO orders VALUES (1, 1)",
)


def test_a_key_that_was_lost_with_a_table_is_a_finding(pair):
    both = pair(SHOP, "DROP TABLE users CASCADE")
    users = both.look("users")
    [finding], again = lost_keys(both.side, both.live, [users])
    assert again == []
    assert finding["code"] == "FOREIGN_KEY_MISSING"
    statement = finding["message"].partition(": ")[2]
    assert statement.startswith('ALTER TABLE orders ADD CONSTRAINT "bought_by" FOREIGN KEY (buyer)')
    both.live.execute("CREATE TABLE users AS SELECT * FROM (VALUES (1), (2)) AS v(id)")
    both.live.execute("ALTER TABLE users ADD PRIMARY KEY (id)")
    both.live.execute(statement)
    assert lost_keys(both.side, both.live, [users]) == ([], [])


def test_so_is_one_that_was_lost_with_a_partition(pair):
    both = pair(
        (
            "CREATE TABLE days (id int PRIMARY KEY) PARTITION BY RANGE (id)",
            "CREATE TABLE days_low PARTITION OF days FOR VALUES FROM (0) TO (3)",
            "CREATE TABLE marks (day int CONSTRAINT of_low REFERENCES days_low)",
        ),
        "DROP TABLE days CASCADE",
    )
    [finding], _ = lost_keys(both.side, both.live, [both.look("days")])
    assert 'ALTER TABLE marks ADD CONSTRAINT "of_low" FOREIGN KEY (day)' in finding["message"]
