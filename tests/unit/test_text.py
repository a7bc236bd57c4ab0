"""Words for people: numbers that read well, names that are near, letters that a terminal shows."""

import pytest

from postgres_backup import text


def test_the_nearest_names_come_best_first():
    existing = [f"postgres-backup-2026-01-{day:02d}_00-00-00.sql.gz" for day in range(1, 20)]
    near = text.nearest("postgres-backup-2026-01-17_00-00-00.sql", existing)
    assert near[0] == "postgres-backup-2026-01-17_00-00-00.sql.gz"
    assert len(near) == len(text.nearest("x", existing)) == 3
    assert set(text.nearest("postgres-backup-2026-01-7_00-00-00.sql.gz", existing)) < set(existing)
    assert text.nearest("x", []) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (246e6, "246.0 MB"), (3.2e15, "3200.0 TB")],
)
def test_bytes(count, words):
    assert text.human_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.21, "4.2 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_seconds(seconds, words):
    assert text.human_seconds(seconds) == words


@pytest.mark.parametrize(
    ("hours", "words"), [(-1, "0 min"), (0.42, "25 min"), (7.5, "7.5 h"), (290, "12 d")]
)
def test_ages(hours, words):
    assert text.human_age(hours) == words


def test_a_name_forges_no_line_of_a_log():
    assert text.printable("crm\n2026 OK\x1b[2K Ж") == "crm\\n2026 OK\\x1b[2K Ж"
