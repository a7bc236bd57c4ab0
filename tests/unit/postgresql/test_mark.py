"""The mark in a database's comment: what it says, what it counts for, and that it never hides what
the database's people said.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.postgresql import mark
from postgres_backup.postgresql.mark import MAX_IDENTIFIER, shorten

NOON = datetime(2026, 1, 27, 12, 0, 0, tzinfo=timezone.utc)
KEPT = mark.make(mark.KEPT, "crm", "its own", replaced_at="2026-01-27T12:00:00Z", oid=7, system="1")
NAME = "crm_before_2026-01-27_12-00-00"


def test_a_name_and_its_tail_fit_into_an_identifier():
    assert shorten("crm", "_copy") == "crm_copy"
    assert shorten("a" * 63, "_copy") == "a" * 58 + "_copy"
    cut = shorten("Ә" * 40, "_copy")  # two bytes each: never half of one
    assert (cut, len(cut.encode()) <= MAX_IDENTIFIER) == ("Ә" * 29 + "_copy", True)


@pytest.mark.parametrize(
    ("name", "oid", "system", "ours"),
    [
        (NAME, 7, "1", True),
        (NAME, 7, "", True),  # we may not know which server it is
        ("shop_archive", 7, "1", False),
        ("crm_before_2026-01-27_12-00-01", 7, "1", False),
        ("k5_staging", 8, "2", False),
        (NAME, 8, "1", False),  # a copy under the same name
        (NAME, 7, "2", False),  # the same, on another server
    ],
)
def test_a_mark_counts_on_the_database_that_it_was_made_for_under_our_name_only(
    name, oid, system, ours
):
    assert mark.read(KEPT.written()).fits(name, oid, system) is ours


def test_a_mark_of_version_0_1_0_counts_under_the_very_name_that_it_gave():
    old = mark.read(
        json.dumps(
            {
                "postgres-backup": "replaced",
                "database": "crm",
                "replaced_at": "2026-01-27T12:00:00Z",
                "by": "restore of X",
                "comment": None,
            }
        )
    )
    assert old.fits(NAME, 12345, "1")
    assert not old.fits("shop_archive", 12345, "1")
    assert not old.fits("crm", 12345, "1")


def test_what_its_people_said_comes_back_from_inside_marks_of_marks():
    twice = mark.make(mark.KEPT, "crm", KEPT.written(), replaced_at="2026-01-28T12:00:00Z")
    assert mark.own_comment(twice.written()) == "its own"
    # as version 0.1.0 wrote them, one inside the other
    inside = json.dumps({**KEPT.fields, "comment": KEPT.written()})
    assert mark.own_comment(inside) == "its own"
    bare = mark.make(mark.SIDE, "crm", None, backup="X")
    assert mark.own_comment(bare.written()) is None


@given(
    st.none()
    | st.text()
    | st.dictionaries(
        st.sampled_from(["postgres-backup", "database", "replaced_at", "comment", "x"]),
        st.none() | st.integers() | st.text(max_size=3) | st.just("replaced"),
    ).map(json.dumps)
)
def test_somebodys_own_comment_is_theirs_whatever_it_looks_like(comment):
    """Nothing here says a time, so nothing of it is a mark of a kept database."""
    assert mark.read(comment) is None
    assert mark.own_comment(comment) == comment
    assert mark.make(mark.SIDE, "crm", comment, backup="X").comment == comment


def test_time_counts_by_looks_and_never_more_than_a_day_between_two():
    last_night = NOON - timedelta(hours=12)
    seen = mark.looked_at(KEPT, last_night, NOON)
    assert (seen.number("seen_seconds"), seen.moment("newest_then")) == (0, last_night)
    for now, expected in (
        (NOON + timedelta(hours=1), 3600),
        (NOON + timedelta(days=10), 3600 + 86400),  # the clock was ten days behind
        (NOON, 3600 + 86400),  # and went back
        (NOON + timedelta(hours=2), 3600 + 86400 + 7200),
    ):
        seen = mark.looked_at(seen, NOON, now)
        assert seen.number("seen_seconds") == expected
    assert seen.moment("newest_then") == last_night
    assert (seen.comment, seen.fits(NAME, 7, "1")) == ("its own", True)
