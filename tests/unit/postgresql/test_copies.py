"""How a copy may be called."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.postgresql.copies import require_name
from postgres_backup.settings import Settings

SETTINGS = Settings(
    "db1",
    ("crm",),
    "u",
    "https://s3.example.org",
    "bucket",
    "k",
    "secret",
    db_maintenance="upkeep",
)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "crm ",
        "-d",
        "host=evil",
        "postgres://evil/crm",
        "a\nb",
        "a\0b",
        "a\x1b[2J",
        "a\u202eb",
        "x" * 64,
        "Ә" * 32,
        "postgres",
        "template0",
        "template1",
        "crm",
        "upkeep",
        "crm_before_2026-01-27_10-00-00",
        "other_restore_2026-01-27_10-00-00",
    ],
)
def test_what_is_unsafe_or_reserved_is_refused(name):
    with pytest.raises(UsageError) as refused:
        require_name(SETTINGS, name)
    assert "is no name for a copy" in refused.value.message
    assert "-e copy_as=" in refused.value.hint
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "name",
    ["crm_last_week", "Crm Look", 'od"d', "x" * 63, "база", "crm_before_noon", "crm_restore"],
)
def test_what_is_none_of_these_is_taken(name):
    require_name(SETTINGS, name)
