"""How results and errors are laid out."""

from __future__ import annotations

import json

import pytest

from postgres_backup.cli import answers
from postgres_backup.errors import BadBackupError, StoreError, UsageError
from postgres_backup.findings import finding


def hide(text: str) -> str:
    return text.replace("secret", "********")


def test_an_error_becomes_one_answer_without_secrets():
    error = BadBackupError(
        "x is cut: secret", "Try secret again", [finding("ROWS_DIFFER", "secret rows", newest=True)]
    )
    assert answers.failure_of(error, hide) == {
        "failed": True,
        "error": "x is cut: ********",
        "hint": "Try ******** again",
        "findings": [{"code": "ROWS_DIFFER", "message": "******** rows", "newest": True}],
        "exit_status": 4,
    }
    assert error.findings[0]["message"] == "secret rows"  # the error itself is as it was


def test_a_mistake_of_the_program_is_a_failure_like_any_other():
    failure = answers.failure_of(KeyError("secret"), hide)
    assert failure["error"].startswith("Failed unexpectedly: KeyError")
    assert "secret" not in str(failure)
    assert failure["exit_status"] == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("Which backup?", "Name one"), "Which backup?. Name one"),
        (StoreError("It does not answer."), "It does not answer"),
        (StoreError("It does not answer.", "Wait"), "It does not answer. Wait"),
    ],
)
def test_a_sentence_for_whoever_has_room_for_one(error, said):
    assert answers.sentence(answers.failure_of(error)) == said


def test_a_failure_for_a_person(capsys):
    found = [finding("ROWS_DIFFER", "of users\nforged line")]
    answers.show_failure(
        answers.failure_of(BadBackupError("It is cut", "Take another", found)), False
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "postgres-backup: It is cut",
        "  ROWS_DIFFER: of users\\nforged line",
        "  Take another",
    ]


def test_a_failure_for_a_program_is_one_object_and_a_person_is_told_too(capsys):
    answers.show_failure(answers.failure_of(UsageError("Which?")), True)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["exit_status"] == 2
    assert shown.err == "postgres-backup: Which?\n"


def test_a_result_for_a_person_and_for_a_program(capsys):
    result = {"changed": True, "path": answers}
    answers.show(result, ["one", "two\x1b[2J"], as_json=False)
    assert capsys.readouterr().out == "one\ntwo\\x1b[2J\n"
    answers.show(result, ["one"], as_json=True)
    assert json.loads(capsys.readouterr().out)["changed"] is True
    answers.show(result, [], as_json=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "called"),
    [
        (StoreError("It is away"), True),
        (BadBackupError("It is cut"), True),
        (UsageError("?"), False),
    ],
)
def test_whom_to_call_is_the_last_line_of_what_is_no_slip_of_the_pen(error, called, capsys):
    answers.show_failure(answers.failure_of(error), False, "Aigul")
    last = capsys.readouterr().err.splitlines()[-1]
    assert (last == "  Whom to call: Aigul") is called
