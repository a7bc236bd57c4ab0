"""Settings by their names: which can be, which give power, and how their values are written."""

from __future__ import annotations

import pytest

from postgres_backup.postgresql import parameters
from postgres_backup.postgresql.facts import DatabaseFacts, DatabaseSetting
from postgres_backup.restore.wanted import powerful_settings


@pytest.mark.parametrize("name", ["work_mem", "app.note", "TimeZone", "a.b.c$1"])
def test_names_that_can_be(name):
    assert parameters.is_name(name)


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a;b", "a..b", ".a", "a\n", "1a", "a" * 300])
def test_names_that_cannot(name):
    assert not parameters.is_name(name)


def test_lists_are_written_value_by_value():
    values = parameters.values_of("search_path", '"$user", public, "a""b"')
    assert values == ["$user", "public", 'a"b']
    assert parameters.assignment("search_path", values).as_string(None) == (
        "SET \"search_path\" TO '$user', 'public', 'a\"b'"
    )
    assert parameters.values_of("search_path", "") == [""]
    assert parameters.values_of("app.note", "a, b") == ["a, b"]


def test_settings_with_power_are_told():
    names = ("work_mem", "session_preload_libraries", "plperl.on_plperlu_init", "Role")
    settings = tuple(DatabaseSetting("", f"{name}=x") for name in names)
    [found] = powerful_settings(DatabaseFacts("owner", settings=settings))
    assert found["code"] == "SETTINGS_WITH_POWER"
    assert found["message"].endswith(": Role, plperl.on_plperlu_init, session_preload_libraries")
    assert powerful_settings(DatabaseFacts("owner", settings=settings[:1])) == []
