"""Chosen tables brought back among others that nobody named: these stay what they are, by cascades,
partitions, triggers, rules and views; a table that was dropped comes back as it was.
"""

from __future__ import annotations

import threading

import psycopg
import pytest

from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.machine.progress import Progress
from tests.waiting import wait_for

COUNTRIES = (
    "CREATE TABLE country (code text UNIQUE, name text)",
    "INSERT INTO country VALUES ('kz', 'Kazakhstan'), ('de', 'Germany'), (NULL, 'nowhere')",
)
SHIPMENTS = "INSERT INTO shipment SELECT n, 'kz' FROM generate_series(1, 1000) n"


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"])
def test_a_table_without_a_key_loses_nothing_that_refers_to_it(pair, action):
    both = pair(
        (
            *COUNTRIES,
            (
                "CREATE TABLE shipment (id int PRIMARY KEY, country text CONSTRAINT goes_to"
                f" REFERENCES country (code) ON DELETE {action} ON UPDATE CASCADE)"
            ),
            SHIPMENTS,
        ),
        "UPDATE country SET name = 'wrong' WHERE code = 'kz'",
    )
    places = "SELECT ctid::text FROM country WHERE code IS DISTINCT FROM 'kz' ORDER BY 1"
    before = both.ask(places)
    assert both.repair("country", check=True)[0] == {"public.country": (1, 0, 1)}
    assert both.repair("country")[0] == {"public.country": (1, 0, 1)}
    assert both.ask("SELECT name FROM country WHERE code = 'kz'") == [("Kazakhstan",)]
    assert both.ask("SELECT count(*), count(country) FROM shipment") == [(1000, 1000)]
    assert both.ask(places) == before  # only the row that differs was written
    assert both.ask("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'") == [
        (
            "FOREIGN KEY (country) REFERENCES country(code) ON UPDATE CASCADE"
            + (f" ON DELETE {action}" if action != "NO ACTION" else ""),
        )
    ]


SALES = (
    "CREATE TABLE customers (id int PRIMARY KEY, name text)",
    "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE)",
    (
        "CREATE TABLE items (id int PRIMARY KEY,"
        " part_of int CONSTRAINT of_order REFERENCES orders ON DELETE CASCADE)"
    ),
    "INSERT INTO customers VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO orders VALUES (1, 1), (2, 2)",
    "INSERT INTO items SELECT n, 1 + n % 2 FROM generate_series(1, 100) n",
)


def test_what_hangs_on_a_row_that_hangs_on_a_later_one_stays(pair):
    both = pair(
        SALES,
        "INSERT INTO customers VALUES (9, 'later')",
        "UPDATE orders SET customer = 9",
    )
    assert both.repair("customers", "orders")[0] == {
        "public.customers": (0, 0, 1),
        "public.orders": (0, 2, 0),
    }
    assert both.ask("SELECT count(*) FROM items") == [(100,)]
    assert both.ask("SELECT id, customer FROM orders ORDER BY 1") == [(1, 1), (2, 2)]


def test_later_rows_of_other_tables_refuse_and_are_named(pair):
    both = pair(
        SALES, "INSERT INTO orders VALUES (3, 1)", "INSERT INTO items VALUES (101, 3), (102, 3)"
    )
    for check in (True, False):
        with pytest.raises(DatabaseError) as refused:
            both.repair("orders", check=check)
        assert "2 rows of items belong to rows of orders" in refused.value.message
        assert "(of_order)" in refused.value.message
        assert "tables=...,items" in refused.value.hint
    assert both.ask("SELECT count(*) FROM items") == [(102,)]
    assert both.repair("orders", "items")[0] == {
        "public.orders": (0, 0, 1),
        "public.items": (0, 0, 2),
    }


def test_a_row_that_the_application_adds_meanwhile_waits_and_is_not_deleted(pair):
    both = pair(SALES, "INSERT INTO orders VALUES (3, 1)")
    heard: list[BaseException] = []

    def application() -> None:
        try:
            with psycopg.connect(both.dsn, application_name="application") as connection:
                connection.execute("INSERT INTO items VALUES (101, 3)")
        except psycopg.Error as error:
            heard.append(error)

    client = threading.Thread(target=application, daemon=True)

    class Meanwhile(Progress):
        def phase(self, name: str, detail: str = "") -> None:
            if name.startswith("deleting"):  # all has been looked at
                client.start()
                wait_for("the application to wait", self.waits)

        def waits(self) -> bool:
            return bool(
                both.side.execute(
                    "SELECT FROM pg_stat_activity"
                    " WHERE application_name = 'application' AND wait_event_type = 'Lock'"
                ).fetchall()
            )

    assert both.repair("orders", progress=Meanwhile())[0] == {"public.orders": (0, 0, 1)}
    client.join(30)
    assert [type(error) for error in heard] == [psycopg.errors.ForeignKeyViolation]
    assert both.ask("SELECT count(*) FROM items") == [(100,)]


def test_readers_go_on_while_missing_rows_come_back(pair):
    both = pair(SALES, "DELETE FROM customers WHERE id = 1")
    read: list[list[tuple]] = []

    class Meanwhile(Progress):
        def phase(self, name: str, detail: str = "") -> None:
            if name.startswith("bringing back public.orders"):
                with psycopg.connect(both.dsn, options="-c lock_timeout=5s") as connection:
                    query = "SELECT count(*) FROM customers, orders, items"
                    read.append(connection.execute(query).fetchall())

    both.repair("customers", "orders", progress=Meanwhile())
    assert read == [[(50,)]]
    assert both.ask("SELECT count(*) FROM orders") == [(2,)]


PARTS = (
    "CREATE TABLE balance (amount int)",
    "INSERT INTO balance VALUES (100)",
    (
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE public.balance SET amount = amount + 50; RETURN NULL; END'"
    ),
    "CREATE TABLE orders (id int PRIMARY KEY, total int) PARTITION BY RANGE (id)",
    "CREATE TABLE orders_low PARTITION OF orders FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE orders_high PARTITION OF orders FOR VALUES FROM (100) TO (200)",
    "CREATE TABLE items (id int, part_of int REFERENCES orders ON DELETE CASCADE)",
    "INSERT INTO orders VALUES (1, 10), (2, 20), (101, 30)",
    "INSERT INTO items VALUES (1, 1), (2, 101)",
    (
        "CREATE TRIGGER every AFTER INSERT OR UPDATE OR DELETE ON orders"
        " FOR EACH ROW EXECUTE FUNCTION more()"
    ),
    (
        "CREATE TRIGGER own AFTER INSERT OR UPDATE OR DELETE ON orders_low"
        " FOR EACH ROW EXECUTE FUNCTION more()"
    ),
    (
        "CREATE TRIGGER off AFTER INSERT OR UPDATE OR DELETE ON orders_low"
        " FOR EACH ROW EXECUTE FUNCTION more()"
    ),
    "ALTER TABLE orders_low DISABLE TRIGGER off",
    "ALTER TABLE orders_low ENABLE ALWAYS TRIGGER every",
)
PART_STATES = """
SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1, 2"""


@pytest.mark.every_major
@pytest.mark.parametrize("named", ["orders_low", "orders"])
def test_partitions_bring_neither_triggers_nor_cascades(pair, named):
    both = pair(
        PARTS,
        "ALTER TABLE orders DISABLE TRIGGER USER",
        "ALTER TABLE orders_low DISABLE TRIGGER USER",
        "UPDATE orders SET total = 0 WHERE id = 1",
        "ALTER TABLE ONLY orders ENABLE TRIGGER every",
        "ALTER TABLE orders_low ENABLE ALWAYS TRIGGER every",
        "ALTER TABLE orders_low ENABLE TRIGGER own",
        "ALTER TABLE orders_high ENABLE REPLICA TRIGGER every",
        "INSERT INTO items VALUES (3, NULL)",
    )
    states = both.ask(PART_STATES)
    assert ("orders_low", "off", "D") in states
    assert both.repair(named)[0] == {f"public.{named}": (0, 1, 0)}
    assert both.ask("SELECT amount FROM balance") == [(100,)]
    assert both.ask(PART_STATES) == states
    assert both.ask("SELECT sum(total) FROM orders") == [(60,)]
    # a later order that later items refer to, by a key to the partitioned table
    both.live.execute("INSERT INTO orders VALUES (3, 1)")
    both.live.execute("INSERT INTO items VALUES (4, 3)")
    both.live.commit()
    for check in (True, False):
        with pytest.raises(DatabaseError, match="1 rows of items belong to rows of orders"):
            both.repair(named, check=check)
    assert both.ask("SELECT count(*) FROM items") == [(4,)]


def test_only_a_table_is_repaired(pair):
    both = pair(
        (
            "CREATE TABLE users (id int PRIMARY KEY, name text)",
            "INSERT INTO users SELECT n, 'name ' || n FROM generate_series(1, 100) n",
        ),
        "ALTER TABLE users RENAME TO people",
        "ALTER TABLE people ADD mail text DEFAULT 'a@b.c', ADD phone text DEFAULT '1'",
        "UPDATE people SET name = 'other' WHERE id = 1",
        "CREATE VIEW users AS SELECT id, name FROM people",
    )
    for check in (True, False):
        with pytest.raises(UsageError) as refused:
            both.repair("users", check=check)
        assert "users is a view now" in refused.value.message
    assert both.ask("SELECT count(mail), count(phone) FROM people") == [(100, 100)]


def test_rows_of_a_table_that_inherits_are_not_its_own(pair):
    both = pair(
        (
            "CREATE TABLE base (id int PRIMARY KEY, name text)",
            "CREATE TABLE special (more text) INHERITS (base)",
            "INSERT INTO base VALUES (1, 'one')",
            "INSERT INTO special VALUES (2, 'two', 'more')",
        ),
        "DELETE FROM base WHERE id = 1",
        "INSERT INTO special VALUES (3, 'later', 'kept')",
        "UPDATE special SET name = 'changed' WHERE id = 2",
    )
    assert both.repair("base")[0] == {"public.base": (1, 0, 0)}
    assert both.ask("SELECT * FROM special ORDER BY id") == [
        (2, "changed", "more"),
        (3, "later", "kept"),
    ]


PRICES = (
    "CREATE TABLE product (id int PRIMARY KEY, sku text UNIQUE)",
    (
        "CREATE TABLE price (amount int,"
        " sku text REFERENCES product (sku) ON UPDATE SET NULL ON DELETE SET NULL)"
    ),
    "INSERT INTO product VALUES (1, 'A-1'), (2, 'A-2'), (3, 'A-3')",
    "INSERT INTO price VALUES (10, 'A-1'), (20, 'A-2')",
)


def test_a_key_that_is_set_back_changes_no_row_elsewhere(pair):
    both = pair(
        PRICES,
        "ALTER TABLE price DISABLE TRIGGER ALL",
        "ALTER TABLE product DISABLE TRIGGER ALL",
        "UPDATE product SET sku = NULL WHERE id < 3",
        "UPDATE product SET sku = 'A-2' WHERE id = 1",
        "UPDATE product SET sku = 'A-1' WHERE id = 2",
        "UPDATE product SET sku = 'B-3' WHERE id = 3",
        "ALTER TABLE price ENABLE TRIGGER ALL",
        "ALTER TABLE product ENABLE TRIGGER ALL",
    )
    assert both.repair("product")[0] == {"public.product": (0, 3, 0)}
    assert both.ask("SELECT * FROM price ORDER BY 1") == [(10, "A-1"), (20, "A-2")]
    assert both.ask("SELECT sku FROM product ORDER BY id") == [("A-1",), ("A-2",), ("A-3",)]


def test_a_key_that_others_refer_to_by_now_is_not_set_back(pair):
    both = pair(
        PRICES,
        "UPDATE product SET sku = 'B-3' WHERE id = 3",
        "INSERT INTO price VALUES (30, 'B-3')",
    )
    with pytest.raises(DatabaseError, match="1 rows of price belong to rows of product"):
        both.repair("product")
    assert both.ask("SELECT sku FROM price ORDER BY 1") == [("A-1",), ("A-2",), ("B-3",)]


def test_rules_and_event_triggers_are_silent_and_then_as_they_were(pair):
    both = pair(
        (
            "CREATE TABLE log (what text)",
            "CREATE TABLE users (id int PRIMARY KEY, name text)",
            "INSERT INTO users VALUES (1, 'one'), (2, 'two')",
            "CREATE RULE noted AS ON INSERT TO users DO ALSO INSERT INTO log VALUES ('rule')",
            "ALTER TABLE users ENABLE ALWAYS RULE noted",
            "CREATE RULE unused AS ON DELETE TO users DO INSTEAD NOTHING",
            "ALTER TABLE users DISABLE RULE unused",
            (
                "CREATE FUNCTION ddl() RETURNS event_trigger LANGUAGE plpgsql AS"
                " 'BEGIN INSERT INTO public.log VALUES (tg_tag); END'"
            ),
        ),
        "DELETE FROM users WHERE id = 1",
        "INSERT INTO users VALUES (3, 'later')",
        "CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION ddl()",
        "ALTER EVENT TRIGGER noted ENABLE ALWAYS",
        "TRUNCATE log",
    )
    assert both.repair("users")[0] == {"public.users": (1, 0, 1)}
    assert both.ask("SELECT * FROM log") == []
    assert both.ask(
        "SELECT rulename, ev_enabled FROM pg_rewrite WHERE ev_class = 'users'::regclass ORDER BY 1"
    ) == [("noted", "A"), ("unused", "D")]
    assert both.ask("SELECT evtenabled FROM pg_event_trigger") == [("A",)]


SALARIES = (
    (
        "CREATE TABLE salaries (id serial PRIMARY KEY, amount int, photo oid,"
        " place int GENERATED BY DEFAULT AS IDENTITY)"
    ),
    "INSERT INTO salaries (amount) SELECT n FROM generate_series(1, 900) n",
    "SELECT setval('salaries_id_seq', 1000)",
    "CREATE TABLE people (id int PRIMARY KEY, salary int REFERENCES salaries)",
    "CREATE VIEW large WITH (security_barrier = true) AS SELECT * FROM salaries WHERE amount > 9",
    "CREATE VIEW larger AS SELECT * FROM large WHERE amount > 99",
    "CREATE POLICY seen ON people USING (id IN (SELECT id FROM salaries))",
    "CREATE RULE own AS ON DELETE TO salaries DO INSTEAD NOTHING",
    "SELECT lo_from_bytea(4711, 'photo'), lo_from_bytea(4712, 'another')",
    "UPDATE salaries SET photo = 4710 + id WHERE id <= 2",
    "GRANT SELECT (amount) ON salaries TO pg_monitor",
    "GRANT SELECT, UPDATE ON salaries TO pg_read_all_stats",
)
RIGHTS = """
SELECT relname, grantee::regrole::text, privilege_type, is_grantable, attname FROM (
    SELECT relname, NULL AS attname, coalesce(relacl, acldefault(
        CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl FROM pg_class
    WHERE relname LIKE 'salaries%' AND relkind IN ('r', 'S')
    UNION ALL SELECT attrelid::regclass::text, attname, attacl FROM pg_attribute
    WHERE attacl IS NOT NULL AND attrelid = 'salaries'::regclass) x, aclexplode(acl)
ORDER BY 1, 2, 3, 4, 5"""


def test_a_dropped_table_comes_back_as_it_was_and_what_went_with_it_is_told(pair):
    both = pair(SALARIES)
    for statement in (
        "SELECT lo_unlink(4711)",
        "DROP TABLE salaries CASCADE",
        f'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "{both.role}"',
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_read_all_stats WITH GRANT OPTION",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        f'ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO "{both.role}"',
        f'GRANT USAGE ON SCHEMA public TO "{both.role}"',
    ):
        both.live.execute(statement)
    both.live.commit()
    told, findings = both.repair("salaries")
    assert told == {"public.salaries": (900, 0, 0)}
    assert both.ask(f"SELECT has_table_privilege('{both.role}', 'salaries', 'SELECT')") == [
        (False,)
    ]
    assert both.ask(RIGHTS) == both.side.execute(RIGHTS).fetchall()
    assert both.ask("SELECT nextval('salaries_id_seq')") == [(1001,)]
    said = {finding["code"]: [] for finding in findings}
    for finding in findings:
        said[finding["code"]].append(finding["message"])
    assert set(said) == {"FOREIGN_KEY_MISSING", "DEPENDENT_MISSING", "LARGE_OBJECTS_MISSING"}
    assert len(said["FOREIGN_KEY_MISSING"]) == 1
    assert "1 large objects" in said["LARGE_OBJECTS_MISSING"][0]
    assert said["LARGE_OBJECTS_MISSING"][0].endswith(": 4711")
    kinds = [message.partition(" went with")[0] for message in said["DEPENDENT_MISSING"]]
    assert kinds == [
        "the view public.large",
        "the view public.larger",
        "the policy seen on public.people",
    ]
    for message in said["DEPENDENT_MISSING"][:2]:
        both.live.execute(message.partition(": ")[2])
    both.live.commit()
    assert both.ask("SELECT count(*) FROM larger") == [(801,)]
    assert both.ask("SELECT reloptions FROM pg_class WHERE relname = 'large'") == [
        (["security_barrier=true"],)
    ]


LATIN1 = "TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
LETTERS = """
SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = '"café"'::regclass
UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = '"café"'::regclass AND contype = 'c'
UNION ALL SELECT obj_description('"café"'::regclass)
UNION ALL (SELECT id || name FROM "café" ORDER BY id)"""


@pytest.mark.parametrize(
    ("pair", "odd"), [("", r"\2028"), (LATIN1, "")], ids=["UTF8", "LATIN1"], indirect=["pair"]
)
def test_a_dropped_table_comes_back_letter_by_letter(pair, odd):
    """Also what Python takes for ends of lines, and what is not written in UTF8."""
    both = pair(
        (
            rf"""CREATE TABLE "café" (id int PRIMARY KEY, name text DEFAULT U&'\00e0{odd}y\0085z',
            code text CHECK (code <> E'a\fb'))""",
            rf"""COMMENT ON TABLE "café" IS U&'\00e9t\00e9{odd}'""",
            r"""INSERT INTO "café" (id) VALUES (1)""",
            r"""INSERT INTO "café" VALUES (2, U&'\00fc\000b')""",
        )
    )
    before = both.ask(LETTERS)
    both.live.execute('DROP TABLE "café"')
    both.live.commit()
    assert both.repair('"café"') == ({"public.café": (2, 0, 0)}, [])
    assert both.ask(LETTERS) == before


def test_a_dropped_partitioned_table_comes_back_with_its_partitions(pair):
    both = pair(PARTS, "DROP TABLE orders CASCADE")
    told, findings = both.repair("orders")
    assert told == {"public.orders": (3, 0, 0)}
    assert both.ask("SELECT tableoid::regclass::text, id FROM orders ORDER BY 2") == [
        ("orders_low", 1),
        ("orders_low", 2),
        ("orders_high", 101),
    ]
    assert [finding["code"] for finding in findings] == ["FOREIGN_KEY_MISSING"]
    assert both.ask("SELECT amount FROM balance") == [(100,)]
    assert both.ask(PART_STATES) == both.side.execute(PART_STATES).fetchall()


def test_a_dropped_partition_is_made_by_hand_first(pair):
    both = pair(PARTS, "DROP TABLE orders_low CASCADE")
    with pytest.raises(UsageError) as refused:
        both.repair("orders_low")
    statement = refused.value.hint.partition(": ")[2].partition(" (Is")[0]
    both.live.execute(statement)
    both.live.commit()
    assert both.repair("orders_low")[0] == {"public.orders_low": (2, 0, 0)}
    assert both.ask("SELECT amount FROM balance") == [(100,)]


def test_a_key_that_is_not_ours_to_take_off_refuses_before_it_acts(pair):
    both = pair(
        (
            *COUNTRIES,
            (
                "CREATE TABLE shipment (id int, country text REFERENCES country (code)"
                " ON DELETE CASCADE)"
            ),
            SHIPMENTS,
        ),
        "UPDATE country SET name = 'wrong' WHERE code = 'kz'",
    )
    both.live.execute(f'ALTER TABLE country OWNER TO "{both.role}"')
    both.live.commit()
    both.live.execute(f'SET SESSION AUTHORIZATION "{both.role}"')
    both.live.commit()
    for check in (True, False):
        with pytest.raises(DatabaseError, match="we may not take it off"):
            both.repair("country", check=check)
    both.live.execute("RESET SESSION AUTHORIZATION")
    both.live.commit()
    assert both.ask("SELECT count(*) FROM shipment") == [(1000,)]
