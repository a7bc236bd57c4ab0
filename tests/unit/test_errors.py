"""What can go wrong: the sentence, the exit status of each kind, and its one word for counting."""

import pytest

from postgres_backup import errors
from postgres_backup.findings import finding


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.PostgresBackupError, 1),
        (errors.StoreError, 1),
        (errors.DatabaseError, 1),
        (errors.UsageError, 2),
        (errors.PoolerError, 2),
        (errors.StandbyError, 2),
        (errors.LockedError, 3),
        (errors.BadBackupError, 4),
    ],
)
def test_each_kind_has_its_exit_status(kind, status):
    assert kind("It failed").exit_status == status


def test_a_hint_stands_on_the_next_line():
    assert str(errors.UsageError("It failed", "Try again")) == "It failed\nTry again"
    assert str(errors.UsageError("It failed")) == "It failed"


def test_whether_a_cause_may_pass_is_said_with_the_error_or_by_its_class():
    assert not errors.StoreError("It failed").passes
    assert errors.StoreError("It failed", passes=True).passes
    assert errors.LockedError("It failed").passes
    assert not errors.LockedError("It failed", passes=False).passes


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.StoreError("x", findings=[finding("CLOCK_DIFFERS", "x")]), "clock"),
        (errors.DatabaseError("x", findings=[finding("DISK_SHORT", "x")]), "disk"),
        (errors.StoreError("Failed to write /x: No space left on device"), "disk"),
        (errors.BadBackupError("x"), "backup"),
        (errors.StoreError("x"), "store"),
        (errors.DatabaseError("x"), "database"),
        (errors.UsageError("x"), "other"),
        (errors.PoolerError("x"), "database"),
    ],
)
def test_what_kind_of_failure_it_is(error, word):
    assert errors.reason(error) == word


def test_an_error_of_ours_stays_as_it_is():
    error = errors.UsageError("It failed", "Try again")
    assert errors.in_words(error) is error


def test_a_mistake_is_one_sentence_that_says_where():
    try:
        _ = {}["two\nlines"]
    except KeyError as mistake:
        said = errors.in_words(mistake)
    assert said.exit_status == 1
    assert said.message.startswith("Failed unexpectedly: KeyError at test_errors.py:")
    assert "\n" not in said.message
    assert "please report this line" in said.hint
