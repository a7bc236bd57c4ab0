"""What went away with a table that was dropped. Views, policies and large objects are told in
test_repair.py.
"""

from __future__ import annotations

import pytest

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


SALES = (
    "CREATE TABLE sale (id int PRIMARY KEY, a int, b int, note text)",
    "CREATE TABLE other (id int PRIMARY KEY)",
    "INSERT INTO sale SELECT n, n % 3, n % 3, 'note' FROM generate_series(1, 20) n",
    "CREATE PUBLICATION part FOR TABLE sale (id, a) WHERE (a > 0), other",
    "CREATE PUBLICATION whole FOR TABLE sale",
    "CREATE STATISTICS ab (dependencies) ON a, b FROM sale",
    "ALTER STATISTICS ab SET STATISTICS 77",
    "COMMENT ON STATISTICS ab IS 'they go together'",
    "CREATE VIEW large WITH (security_barrier) AS SELECT * FROM sale WHERE a > 1",
    "GRANT SELECT ON large TO pg_monitor",
    "COMMENT ON VIEW large IS 'it''s large'",
    "CREATE MATERIALIZED VIEW summed AS SELECT a, count(*) AS n FROM large GROUP BY a",
    "CREATE UNIQUE INDEX summed_a ON summed (a)",
    (
        "CREATE FUNCTION told(s sale) RETURNS text LANGUAGE sql AS"
        " $$ SELECT s.note || ';' || s.id $$"
    ),
    (
        "CREATE FUNCTION lowest() RETURNS sale LANGUAGE sql"
        " BEGIN ATOMIC SELECT * FROM sale ORDER BY id LIMIT 1; END"
    ),
    "CREATE FUNCTION counted() RETURNS int LANGUAGE sql RETURN (SELECT count(*) FROM large)",
)
THERE = """
SELECT p.pubname, r.prrelid::regclass::text, r.prattrs::text, pg_get_expr(r.prqual, r.prrelid)
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
UNION ALL SELECT stxname, pg_get_statisticsobjdef(oid), stxstattarget::text,
    obj_description(oid, 'pg_statistic_ext') FROM pg_statistic_ext
UNION ALL SELECT relname, pg_get_viewdef(oid), concat_ws(' ', relacl, reloptions),
    obj_description(oid, 'pg_class')
FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace
UNION ALL SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), NULL, NULL
FROM pg_index WHERE indrelid IN (SELECT oid FROM pg_class WHERE relkind = 'm')
UNION ALL SELECT proname, pg_get_functiondef(oid), NULL, NULL FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
ORDER BY 1, 2"""


@pytest.mark.every_major
def test_what_is_told_makes_all_of_it_again(pair):
    """A place in publications, extended statistics, views, functions: in the order in which they
    lean on each other.
    """
    both = pair(SALES)
    before = both.ask(THERE)
    assert len(before) == 10
    both.live.execute("DROP TABLE sale CASCADE")
    both.live.commit()
    told = both.repair("sale", check=True)
    assert both.repair("sale") == told
    counts, findings = told
    assert counts == {"public.sale": (20, 0, 0)}
    assert {finding["code"] for finding in findings} == {"DEPENDENT_MISSING"}
    for finding in findings:
        both.live.execute(finding["message"].partition("come back with it: ")[2])
    both.live.commit()
    assert both.ask(THERE) == before
