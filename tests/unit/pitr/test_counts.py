"""Rows beside rows, in words."""

from __future__ import annotations

from postgres_backup.pitr import counts


def row(table: str, rows: int | None, live: int | None, counted: bool = True) -> counts.TableRows:
    return {
        "database": "crm",
        "table": table,
        "rows": rows,
        "live_rows": live,
        "counted": counted,
    }


def test_only_what_differs_is_told_by_name():
    found = [row("a", 3, 3), row("b", 5, None), row("c", None, 2), row("d", None, 9, False)]
    assert counts.lines(found, live=True) == [
        "crm: b: 5 rows, live no such table",
        "crm: c: no such table, live 2 rows",
        "1 tables have as many rows as the live ones",
        "1 tables are too large to be counted in a minute",
    ]


def test_many_differences_are_cut():
    told = counts.lines([row(f"t{n}", n + 1, 0) for n in range(50)], live=True)
    assert told[-2] == "and 30 more tables with other numbers of rows"
    assert len(told) == 22


def test_without_a_live_cluster_the_sum_is_told():
    told = counts.lines([row("a", 3, None), row("b", 4, None)], live=False)
    assert told == ["2 tables, 7 rows; the live cluster does not run"]
