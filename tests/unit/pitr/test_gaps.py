"""What is missing is found by counting, over the ends of files and of timelines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.pitr import gaps
from postgres_backup.postgresql.log_pieces import number_of

SIZE = 16 << 20
#: such a piece ends a file of 4 GB
LAST = 255


def name(timeline: int, number: int) -> str:
    log, piece = divmod(number, LAST + 1)
    return f"{timeline:08X}{log:08X}{piece:08X}"


def stored(timeline: int, *numbers: int) -> list[str]:
    return [f"17-1/x/{name(timeline, number)}-{'a' * 40}.zst" for number in numbers]


def missing(names: list[str], since: str = name(1, 3)) -> list[tuple[str, str]]:
    return gaps.missing(gaps.segments(names, SIZE), number_of(since, SIZE), SIZE)


def test_nothing_is_missing_where_each_number_is_there_and_other_files_do_not_count():
    names = [*stored(1, 2, 3, 4, 5), "17-1", "17-1/archive.info", "x/00000002.history"]
    names += [f"17-1/x/{name(1, 9)}.00000028.backup", f"17-1/x/{name(1, 9)}.partial-{'a' * 40}"]
    assert missing(names) == []


def test_a_row_of_missing_ones_has_a_first_and_a_last():
    assert missing(stored(1, 3, 4, 7, 9)) == [
        (name(1, 5), name(1, 6)),
        (name(1, 8), name(1, 8)),
    ]


def test_what_lies_before_the_backup_is_not_asked_for():
    assert missing(stored(1, 1, 3, 4)) == []


def test_a_file_of_4_gb_ends_without_a_gap():
    assert missing(stored(1, *range(3, 300))) == []
    assert missing(stored(1, *range(3, LAST), LAST + 1)) == [(name(1, LAST), name(1, LAST))]


@pytest.mark.parametrize("begin", [5, 6])
def test_a_new_timeline_begins_in_the_last_piece_or_behind_it(begin):
    assert missing([*stored(1, 3, 4, 5), *stored(2, *range(begin, 9))]) == []


def test_a_gap_before_a_new_timeline_is_one():
    assert missing([*stored(1, 3, 4), *stored(2, 7, 8)]) == [(name(2, 5), name(2, 6))]


def test_an_archive_without_the_first_piece_of_the_backup_is_worth_nothing():
    assert missing([]) == [(name(1, 3), name(1, 3))]
    assert missing(stored(1, 4, 5)) == [(name(1, 3), name(1, 3))]


@given(st.sets(st.integers(4, 600)))
def test_all_that_is_missing_is_named_and_nothing_else(lost):
    there = [number for number in range(3, 602) if number not in lost]
    told = set()
    for first, last in missing(stored(1, *there)):
        begin, end = number_of(first, SIZE)[1], number_of(last, SIZE)[1]
        told |= set(range(begin, end + 1))
    assert told == lost
