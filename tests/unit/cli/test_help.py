"""Everything fits a terminal of 80 columns; on a narrower one too, as far as words go."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.cli.commands import COMMANDS
from postgres_backup.health import status
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


def listed(number: int) -> dict:
    return {
        "backup": f"postgres-backup-2026-01-{number:02}_00-00-00.sql.gz",
        "database": "crm",
        "age_hours": 9.0,
        "bytes": 419_300,
        "rows": 20_000,
        "state": "proven",
        "signature": "trusted",
        "proof": {"kind": "restored", "at": "2026-01-27T00:00:00Z"},
        "checked_at": "",
        "keep": number > 2,
        "reason": "not older than 7 days" if number > 2 else "older than 7 days, and no other",
    }


def test_a_list_is_a_table_where_it_fits_and_two_lines_a_backup_where_not():
    backups = [listed(3), listed(1)]
    whole = status.table(backups)
    assert len(whole) == 3
    assert status.table(backups, 200) == whole
    narrow = status.table(backups, 80)
    assert max(len(piece) for line in narrow for piece in wrapped(line, 80)) <= 80
    assert [line.split()[0] for line in narrow] == [
        "BACKUP",
        "postgres-backup-2026-01-03_00-00-00.sql.gz",
        "proven",
        "postgres-backup-2026-01-01_00-00-00.sql.gz",
        "proven",
    ]
    assert narrow[2] == "  proven (restored on 2026-01-27); stays: not older than 7 days"
    assert narrow[4].endswith("; goes at the next prune: older than 7 days, and no other")


@pytest.mark.parametrize(
    ("change", "columns", "first", "second"),
    [
        ({}, 80, "00.sql.gz  crm       9.0 h  419.3 kB  20,000", "  proven ("),
        # encrypted, as Ansible shows it
        ({"suffix": ".age"}, 78, ".sql.gz.age crm      9.0 h 419.3 kB 20,000", "  proven ("),
        (
            {"database": "crm_archive_2019"},
            78,
            "  crm_archive_2019  9.0 h  419.3 kB",
            "  20,000 rows; proven (",
        ),
    ],
)
def test_a_list_is_made_narrower_step_by_step(change, columns, first, second):
    line = listed(3)
    line["backup"] += change.pop("suffix", "")
    head, *found = status.table([line | change], columns)
    assert found[0].endswith(first)
    assert found[1].startswith(second)
    assert max(map(len, (head, *found))) <= columns


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
