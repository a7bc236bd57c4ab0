"""Root becomes the owner of the config."""

from __future__ import annotations

import os
import pwd
import types

import pytest

from postgres_backup.cli import owner
from postgres_backup.errors import UsageError


@pytest.fixture
def became(monkeypatch) -> list:
    """We are root, and whom we would become is only noted."""
    done: list = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *given, name=name: done.append((name, *given)))
    monkeypatch.setenv("HOME", "/root")
    return done


def owned_by(monkeypatch, number: int) -> None:
    real = os.stat

    def stat(path, *more, **how):
        return types.SimpleNamespace(st_uid=number) if path == "x.env" else real(path, *more, **how)

    monkeypatch.setattr(os, "stat", stat)


def test_root_gives_up_its_groups_first_and_its_user_last(became, monkeypatch):
    user = pwd.getpwnam("nobody")
    owned_by(monkeypatch, user.pw_uid)
    owner.become_owner("x.env")
    assert became == [
        ("initgroups", user.pw_name, user.pw_gid),
        ("setgid", user.pw_gid),
        ("setuid", user.pw_uid),
    ]
    assert os.environ["HOME"] == user.pw_dir


def test_whoever_is_not_root_stays_so(became, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    owner.become_owner("/nonexistent")
    assert became == []


def test_a_config_of_root_leaves_root_what_it_is(became, monkeypatch):
    owned_by(monkeypatch, 0)
    owner.become_owner("x.env")
    assert became == []


def test_a_config_that_is_not_there(became, tmp_path):
    with pytest.raises(UsageError, match="Failed to read the config") as caught:
        owner.become_owner(str(tmp_path / "none.env"))
    assert "setup.yml" in caught.value.hint


def test_an_owner_whom_nobody_knows(became, monkeypatch):
    owned_by(monkeypatch, 4_000_000)
    with pytest.raises(UsageError, match="belongs to user number 4000000"):
        owner.become_owner("x.env")
    assert became == []


def test_an_owner_who_may_not_read_our_python(became, monkeypatch):
    owned_by(monkeypatch, pwd.getpwnam("nobody").pw_uid)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(UsageError, match="may not read the Python that runs this"):
        owner.become_owner("x.env")
