"""Names and foreign keys as a dump writes them."""

from __future__ import annotations

import pytest

from postgres_backup.postgresql.chosen import adds_key, identifiers, parents_of


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("users", ("users",)),
        ("public.users", ("public", "users")),
        ("Shop.USERS", ("shop", "users")),
        ("ÉTÉ", ("ÉtÉ",)),
        ('shop."My table"', ("shop", "My table")),
        ('"a.b"."say ""so"""', ("a.b", 'say "so"')),
        ("база.данные", ("база", "данные")),
    ],
)
def test_a_name_is_read_as_postgresql_reads_it(name, said):
    assert identifiers(name) == said


def test_the_tables_that_foreign_keys_point_to():
    first = (
        "ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT o FOREIGN KEY (user_id) "
        "REFERENCES public.users(id) ON DELETE CASCADE;"
    )
    second = (
        'ALTER TABLE shop.days\n    ADD CONSTRAINT "odd (" FOREIGN KEY ("a b", c) '
        'REFERENCES shop."My (table)"("x y", z) NOT VALID;'
    )
    keys = [first, second]
    assert all(adds_key(key.encode()) for key in keys)
    assert parents_of(keys) == ["public.users", 'shop."My (table)"']


@pytest.mark.parametrize(
    "other",
    [
        "ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT o PRIMARY KEY (id);",
        "ALTER TABLE public.orders OWNER TO crm;",
        "COMMENT ON TABLE public.orders IS 'ADD CONSTRAINT o FOREIGN KEY ';",
    ],
)
def test_what_adds_no_foreign_key(other):
    assert not adds_key(other.encode())
    assert parents_of([other]) == []
