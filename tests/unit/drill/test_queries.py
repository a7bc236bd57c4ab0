"""What the settings may ask of a copy; the asking itself is tried with a server."""

from __future__ import annotations

import json

import pytest

from postgres_backup.drill.queries import findings_of, parsed
from postgres_backup.errors import UsageError


def test_a_query_says_little_and_the_rest_is_usual():
    [query] = parsed(['{"sql": "SELECT  true"}'])
    assert query == {
        "name": "SELECT true",
        "sql": "SELECT  true",
        "expect": "true",
        "compare": "=",
        "timeout": 60.0,
    }
    assert parsed(()) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ("[]", "number 1"),
        ("{}", "number 1"),
        ('{"sql": " "}', "number 1"),
        ('{"sql": "x", "expects": 1}', "expects"),
        ('{"sql": "x", "compare": "=="}', "compare"),
        ('{"sql": "x", "timeout": 0}', "timeout"),
        ('{"sql": "x", "timeout": true}', "timeout"),
        ('{"sql": "x", "expect": [1]}', "expect"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_loaded(text, why):
    with pytest.raises(UsageError, match=why) as caught:
        parsed([text])
    assert "DRILL_QUERIES" in caught.value.message


def test_two_of_one_name_would_be_one_check():
    with pytest.raises(UsageError, match="one name"):
        parsed(['{"sql": "x"}', '{"sql": "y", "name": "x"}'])


def test_what_is_wrong_with_the_answers():
    base = {"name": "x", "answer": "1", "expect": "2", "compare": "=", "passed": True, "error": ""}
    assert findings_of([base]) == []
    found = findings_of([base | {"passed": False}, base | {"error": "refused"}])
    assert [(check, one["code"]) for check, one in found] == [
        ("query: x", "QUERY_DIFFERS"),
        ("query: x", "QUERY_FAILED"),
    ]


def test_numbers_keep_their_kind_on_the_way_through_the_settings():
    [query] = parsed([json.dumps({"sql": "x", "expect": 1.5})])
    assert query["expect"] == "1.5"
