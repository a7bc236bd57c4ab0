"""When what a server refuses is called a matter of versions, and when it is not."""

from __future__ import annotations

import pytest

from postgres_backup.postgresql.load_errors import explained
from postgres_backup.postgresql.wire import Refused


def codes(message: str, state: str, dumped: int, server: int = 16, **more: bool) -> list[str]:
    refused = Refused(message.encode(), state, line=7, **more)
    error = explained(refused, message, "crm", (), dumped, server)
    assert message in error.message
    assert not error.findings or f"PostgreSQL {dumped}" in error.hint
    return [found["code"] for found in error.findings]


@pytest.mark.parametrize(
    ("message", "state"),
    [
        ("function array_append(anyarray, anyelement) does not exist", "42883"),
        ('type "abstime" does not exist', "42704"),
        ("postfix operators are not supported", "42601"),
        ("tables declared WITH OIDS are not supported", "0A000"),
    ],
)
def test_what_an_older_server_took(message, state):
    assert codes(message, state, 11) == ["VERSION_TOO_OLD"]
    for dumped in (16, 17, 0):  # of the same, of a newer one, nobody knows
        assert codes(message, state, dumped) == []


@pytest.mark.parametrize(
    ("message", "state"),
    [
        ('role "reader" does not exist', "42704"),
        ('extension "postgis" is not available', "0A000"),
        ("permission denied for schema public", "42501"),
        ("could not extend file: No space left on device", "53100"),
        ("duplicate key value violates unique constraint", "23505"),
        ("terminating connection", "57P01"),
    ],
)
def test_what_has_another_cause_is_called_by_that(message, state):
    assert codes(message, state, 11) == []


def test_a_function_that_finds_no_name_is_no_matter_of_versions():
    assert codes('relation "words" does not exist', "42P01", 11, inside=True) == []
    assert codes("function plain(text) does not exist", "42883", 11, inside=True) == []
