"""Everything fits a terminal of 80 columns; on a narrower one too, as far as words go."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.cli.commands import COMMANDS
from postgres_backup.text import wrapped
from tests.unit.cli.whole import command_line


def shown(*words: str) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as ended:
        command_line().parse_args([*words, "--help"])
    assert ended.value.code == 0
    return text.getvalue()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_and_has_examples(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(*filter(None, [command]))
    assert max(map(len, text.splitlines())) <= 80
    if command:
        examples = text.split("\nExamples:\n")[1].splitlines()
        assert examples
        for line in examples:
            assert line.startswith(f"  postgres-backup {command}")
            command_line().parse_args(line.split()[1:])


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("short", ["short"]),
        ("", [""]),
        (
            "  PRUNE_FAILED: old backups of crm could not be deleted because the store refuses it",
            [
                "  PRUNE_FAILED: old backups of crm could not be deleted because the store",
                "    refuses it",
            ],
        ),
        # a command that is pasted in two pieces would do less, or more, than is meant
        (
            "The live database has more rows: postgres-backup restore latest --as crm_last_week, t",
            [
                "The live database has more rows:",
                "  postgres-backup restore latest --as crm_last_week, t",
            ],
        ),
        (f"It is {'x' * 90}", ["It is", f"  {'x' * 90}"]),
    ],
)
def test_a_line_is_wrapped_at_words_and_a_command_stays_whole(line, pieces):
    assert wrapped(line, 80) == pieces


@given(st.text(alphabet="ab -.,;:`(postgres-backup", max_size=300), st.integers(40, 120))
def test_nothing_but_blanks_is_lost_whatever_the_line(line, columns):
    assert "".join("".join(wrapped(line, columns)).split()) == "".join(line.split())
    assert wrapped(line, 39) == [line]
