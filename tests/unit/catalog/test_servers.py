"""Who owns what, where several servers have written under one name."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog.servers import Wrote, judge
from postgres_backup.machine.identity import Mark

NOW = datetime(2026, 1, 27, 12, tzinfo=timezone.utc)
PATIENCE = timedelta(hours=26)
A, B, C = Mark("700"), Mark("800"), Mark("900")


def twin(started: int, machine: str = "") -> Mark:
    """A server of one system identifier, by its start."""
    return Mark("700", str(started), machine)


def who(own: Mark, *marks: Mark, adopted: dict[int, str] | None = None) -> str:
    """A letter for each backup, one a day, the last yesterday: (o)urs, (O)ther's, (h)eld, (?)."""
    wrote = [
        Wrote(NOW - timedelta(days=len(marks) - n), mark, (adopted or {}).get(n, ""))
        for n, mark in enumerate(marks)
    ]
    return "".join(
        "O" if v.whose else "?" if v.untold else "h" if v.held else "o"
        for v in judge(own, wrote, NOW, PATIENCE)
    )


@pytest.mark.parametrize(
    ("own", "wrote", "expected"),
    [
        (A, [A, A, A], "ooo"),
        (B, [A, A, A], "hhh"),  # rebuilt: nothing of its own yet
        (B, [A, A, B], "hho"),  # and its first night
        (B, [A, A, B, B], "oooo"),  # and the next
        (C, [A, B, B, C, C], "ooooo"),
        (A, [A, B, A, B], "oOoO"),  # each its own
        (B, [A, B, A, B], "OoOo"),
        (A, [A, A, B], "ooO"),  # at its very first backup
        (C, [A, B, A, B], "????"),  # which of the two is it?
        (Mark(), [A, B, A], "???"),  # the server cannot be asked
        (Mark(), [A, A, B], "ooo"),
        (A, [Mark(), A, B, A], "ooOo"),  # an old backup that does not say
        (A, [C, A, B, A, B], "ooOoO"),  # C was A's predecessor, not B's
        (B, [C, A, B, A, B], "OOoOo"),
    ],
)
def test_succession_and_cloning(own, wrote, expected):
    assert who(own, *wrote) == expected


def test_adopted_backups_are_the_adopters():
    wrote = [A, B, A, B]
    assert who(A, *wrote, adopted={1: "700", 3: "700"}) == "oooo"
    assert who(A, *wrote, adopted={1: "700"}) == "oooO"
    assert who(B, *wrote, adopted={1: "700"}) == "hhho", "as a successor of A"


def test_another_server_stays_another_when_the_first_backup_of_ours_is_pruned():
    begin = NOW - timedelta(days=9)
    wrote = [
        Wrote(NOW - timedelta(days=8), B),
        Wrote(NOW - timedelta(days=2), A, since=begin),
        Wrote(NOW - timedelta(days=1), A, since=begin),
    ]
    assert [v.whose for v in judge(A, wrote, NOW, PATIENCE)] == [B, None, None]


def test_a_server_that_starts_anew_is_the_same():
    assert who(twin(3), twin(1), twin(1), twin(2), twin(3)) == "oooo"


def test_a_copied_disk_is_told_by_the_server_that_comes_back():
    """Of one identifier; the machines differ, and tell whose is whose."""
    a, b, again = twin(1, "aa"), twin(2, "bb"), twin(3, "aa")
    assert who(a, a, a, b, a, b) == "ooOoO"
    assert who(b, a, a, b, a, b) == "OOoOo"
    assert who(again, a, b, a, again, b) == "oOooO"
    assert who(a, a, a, b) == "ooo", "nobody can tell yet: it may have moved"


def test_a_copy_with_the_same_machine_id_cannot_be_told_apart():
    """What the running server took itself is certain, and nothing else is deleted."""
    a, b = twin(1, "aa"), twin(2, "aa")
    assert who(a, a, b, a, b) == "o?o?"
    assert who(twin(9, "aa"), a, b, a, b) == "????"
    assert who(a, a, b, a, b, adopted=dict.fromkeys(range(4), "700")) == "oooo"


def test_one_server_that_two_machines_back_up_is_one():
    assert who(twin(2, "bb"), twin(1, "aa"), twin(1, "bb"), twin(1, "aa"), twin(2, "bb")) == "oooo"
