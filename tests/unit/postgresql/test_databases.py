"""Names that are cut to what PostgreSQL takes."""

from __future__ import annotations

from postgres_backup.postgresql.databases import MAX_IDENTIFIER, shorten


def test_a_name_and_its_tail_fit_into_an_identifier():
    assert shorten("crm", "_copy") == "crm_copy"
    assert shorten("a" * 63, "_copy") == "a" * 58 + "_copy"
    cut = shorten("Ә" * 40, "_copy")  # two bytes each: never half of one
    assert (cut, len(cut.encode()) <= MAX_IDENTIFIER) == ("Ә" * 29 + "_copy", True)
