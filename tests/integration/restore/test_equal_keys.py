"""Values that an index takes for equal and people do not: they read as in the backup, never as
whoever changed them has written them.
"""

from __future__ import annotations

import pytest

#: by a name: what makes the type, the type, the value of the backup, and one that is equal to it
EVERYWHERE = {
    "numeric": ("", "numeric", "1.0", "1.00"),
    "float8": ("", "float8", "'-0'", "'0'"),
    "interval": ("", "interval", "'1 day'", "'24 hours'"),
    "row": ("CREATE TYPE pair AS (n numeric, m int)", "pair", "(1.0, 2)", "(1.00, 2)"),
}
#: what Debian's packages have and a wheel has not
DEBIAN = {
    "citext": ("CREATE EXTENSION citext", "citext", "'Anna@X.kz'", "'anna@x.kz'"),
    "collation": (
        "CREATE COLLATION no_case (provider=icu, locale='und-u-ks-level2', deterministic=false)",
        "text COLLATE no_case",
        "'Ünal'",
        "'ÜNAL'",
    ),
}
READ = "SELECT k::text, v FROM {} ORDER BY v"


def made(kind: str, first: str, of_type: str, value: str, other: str) -> list[str]:
    """As a primary key that others refer to, in a column that may be there once, and in a table
    without a key.
    """
    return [
        *([first] if first else []),
        f"CREATE TABLE keyed_{kind} (k {of_type} PRIMARY KEY, v int)",
        (
            f"CREATE TABLE child_{kind}"
            f" (k {of_type} REFERENCES keyed_{kind} ON UPDATE CASCADE, v int)"
        ),
        f"CREATE TABLE once_{kind} (v int PRIMARY KEY, k {of_type} UNIQUE)",
        f"CREATE TABLE loose_{kind} (k {of_type}, v int)",
        f"INSERT INTO keyed_{kind} VALUES ({value}, 1)",
        f"INSERT INTO child_{kind} VALUES ({value}, 1)",
        f"INSERT INTO once_{kind} VALUES (1, {value})",
        f"INSERT INTO loose_{kind} VALUES ({value}, 1), ({value}, 1)",
    ]


def brought_back(pair, kinds: dict[str, tuple[str, str, str, str]]) -> None:
    both = pair(tuple(one for kind, what in kinds.items() for one in made(kind, *what)))
    expected = {}
    for kind in kinds:
        expected |= {
            f"keyed_{kind}": (0, 1, 0),
            f"child_{kind}": (1, 0, 1),
            f"once_{kind}": (0, 1, 0),
            f"loose_{kind}": (2, 0, 2),
        }
    before = {name: both.ask(READ.format(name)) for name in expected}

    def change(name: str) -> None:
        both.live.execute(f"UPDATE {name} SET k = {kinds[name.partition('_')[2]][3]}")

    for name in expected:
        change(name)
    both.live.commit()
    assert not [name for name in expected if both.ask(READ.format(name)) == before[name]]
    # alone: the rows of others refer to what is equal for the index
    for kind in kinds:
        keyed, child = f"keyed_{kind}", f"child_{kind}"
        assert both.repair(keyed)[0] == {f"public.{keyed}": (0, 1, 0)}
        assert both.ask(READ.format(keyed)) == before[keyed]
        assert both.ask(READ.format(child)) != before[child]
        change(keyed)
        both.live.commit()
    told = {f"public.{name}": counts for name, counts in expected.items()}
    assert both.repair(*expected, check=True)[0] == both.repair(*expected)[0] == told
    assert {name: both.ask(READ.format(name)) for name in expected} == before


def test_they_read_as_in_the_backup(pair):
    brought_back(pair, EVERYWHERE)


@pytest.mark.parametrize("postgres", [15], indirect=True)
def test_so_do_those_of_extensions_and_collations(pair):
    brought_back(pair, DEBIAN)
