"""What a drill of every second holds against the recovered cluster, and what it leaves behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
from pathlib import Path

import pytest

from postgres_backup.cli import every_second
from postgres_backup.errors import (
    DatabaseError,
    LockedError,
    PostgresBackupError,
    StoppedError,
    UsageError,
)
from postgres_backup.machine import lock, state
from postgres_backup.machine.progress import Progress
from postgres_backup.pitr import drill
from postgres_backup.pitr.drilled import DRILL, LastDrill
from postgres_backup.pitr.look import LOOK
from postgres_backup.pitr.side_cluster import SIDE, Side
from postgres_backup.settings import Settings
from tests.unit.pitr.test_texts import CLUSTER, SETTINGS

TARGET = "2026-11-29T12:00:00.5Z"
BETWEEN: drill.Between = {"target": TARGET, "first": 700, "rows": True}


class Stage:
    """The world of a drill: what it finds in the recovered cluster, and what is still there."""

    def __init__(self) -> None:
        self.there = [1]
        self.status = "committed"
        self.next_commit = "2026-11-29T12:00:01Z"
        self.wrong: BaseException | None = None
        self.gaps: list[str] = []
        self.removed = 0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return dataclasses.replace(SETTINGS, state_dir=str(tmp_path))


@pytest.fixture
def stage(monkeypatch, settings) -> Stage:
    world = Stage()

    class Connection:
        def execute(self, query, parameters=None):
            return self

        def fetchone(self):
            return (world.status,)

    @contextlib.contextmanager
    def connect(settings, database):
        yield Connection()

    def recover(settings, progress, typed, latest, keep, check, counted):
        assert (typed, latest, keep, check, counted) == (
            {"time": TARGET},
            False,
            True,
            False,
            False,
        )
        if world.wrong:
            raise world.wrong
        state.write(settings, SIDE, side())
        return {"seconds": 3.0, "label": "20261129-100000F", "next_commit": world.next_commit}

    def remove(settings, check):
        world.removed += 1
        state.write(settings, SIDE, {})

    monkeypatch.setattr(
        drill.clusters, "ask", lambda _: dataclasses.replace(CLUSTER, archive_mode="on")
    )
    monkeypatch.setattr(drill, "look", lambda *_, **__: ({"gaps": world.gaps}, []))
    monkeypatch.setattr(drill.route, "make_plan", lambda *_, **__: None)
    monkeypatch.setattr(drill, "_moment", lambda _: TARGET)
    monkeypatch.setattr(drill, "_write", lambda _: BETWEEN)
    monkeypatch.setattr(drill, "connect", connect)
    monkeypatch.setattr(drill, "values", lambda *_: world.there)
    monkeypatch.setattr(drill.recover, "recover", recover)
    monkeypatch.setattr(drill.recover, "remove", remove)
    monkeypatch.setattr(drill.at_rest, "ask", lambda _: (CLUSTER, True))
    return world


def side(target: str = TARGET) -> Side:
    return {
        "at": "2026-11-29T12:00:03Z",
        "directory": "/var/lib/postgresql/17/main_recovered_x",
        "port": 5500,
        "target": target,
        "ready": True,
    }


def last(settings: Settings) -> LastDrill:
    return json.loads(Path(settings.state_dir, DRILL.name).read_text())


def test_one_that_holds_the_first_row_alone_has_passed_and_nothing_stays(stage, settings):
    result = drill.drill(settings, Progress())
    assert (result["passed"], result["target"], stage.removed) == (True, TARGET, 1)
    assert "the first of two rows is in it, and not the second" in drill.lines(result)[0]
    assert not len(state.read(settings, SIDE))
    assert (last(settings)["passed"], last(settings)["running"]) == (True, False)


@pytest.mark.parametrize("there", [[], [1, 2], [2]])
def test_any_other_rows_are_a_failure(stage, settings, there):
    stage.there = there
    result = drill.drill(settings, Progress())
    assert (result["passed"], stage.removed) == (False, 1)
    assert f"of two rows it holds {there or 'none'}" in result["said"]
    assert "FAILED" in drill.lines(result)[0]


@pytest.mark.parametrize(
    ("status", "following", "passed"),
    [
        ("committed", "2026-11-29T12:00:01Z", True),
        ("aborted", "2026-11-29T12:00:01Z", False),
        ("committed", "", False),
    ],
)
def test_where_nothing_may_be_written_the_transactions_are_looked_for(
    stage, settings, monkeypatch, status, following, passed
):
    monkeypatch.setattr(drill, "_write", lambda _: {**BETWEEN, "rows": False})
    stage.status, stage.next_commit = status, following
    assert drill.drill(settings, Progress())["passed"] is passed


def test_a_recovery_that_fails_and_a_gap_are_failures_that_are_remembered(stage, settings):
    stage.wrong = UsageError("there is no room", "make some")
    assert drill.drill(settings, Progress())["said"] == "there is no room"
    assert last(settings)["said"] == "there is no room"
    stage.gaps = ["000000010000000000000005"]
    assert (
        "archived are missing: 000000010000000000000005"
        in (drill.drill(settings, Progress())["said"])
    )


@pytest.mark.parametrize("broken", [StoppedError("stopped"), KeyboardInterrupt()])
def test_one_that_is_broken_off_says_so(stage, settings, broken):
    stage.wrong = broken
    with pytest.raises(type(broken)):
        drill.drill(settings, Progress())
    assert (last(settings)["running"], last(settings)["said"]) == (False, "it was broken off")


def test_whoever_recovers_is_let_alone_and_the_one_before_still_counts(stage, settings):
    drill.drill(settings, Progress())
    before = last(settings)
    stage.wrong = LockedError("recovery is under way")
    with pytest.raises(LockedError):
        drill.drill(settings, Progress())
    assert last(settings) == before
    state.write(settings, SIDE, side("another moment"))
    with pytest.raises(UsageError, match="There is a recovered cluster already"):
        drill.drill(settings, Progress())
    assert (last(settings), stage.removed) == (before, 1)


def begun(settings: Settings, of: str) -> None:
    """What a power cut leaves of one."""
    state.write(
        settings,
        DRILL,
        LastDrill(
            at="2026-11-29T12:00:00Z",
            running=True,
            passed=False,
            seconds=0.0,
            target=TARGET,
            said="",
        ),
    )
    state.write(settings, SIDE, side(of))


@pytest.mark.parametrize(("of", "removed"), [(TARGET, 1), ("what somebody looks at", 0)])
def test_what_a_power_cut_leaves_is_removed_and_nothing_else(stage, settings, of, removed):
    begun(settings, of)
    assert drill.tidy(settings)
    assert stage.removed == removed
    assert last(settings)["said"] == "it was broken off"
    assert not drill.tidy(settings)


def test_one_that_is_being_made_is_not_removed(stage, settings):
    begun(settings, TARGET)
    with lock.hold(settings, "pitr-drill", "drill"):
        assert not drill.tidy(settings)
    assert (stage.removed, last(settings)["running"]) == (0, True)


def test_a_folder_that_stays_is_said(stage, settings, monkeypatch):
    def remove(settings, check):
        raise PostgresBackupError("Failed to remove it", "by hand")

    monkeypatch.setattr(drill.recover, "remove", remove)
    assert drill.drill(settings, Progress())["said"] == "Failed to remove it"


@pytest.mark.parametrize("stays", [False, True])
def test_what_stays_of_one_is_told_and_keeps_nobody_from_looking(settings, monkeypatch, stays):
    state.write(settings, SIDE, side("what somebody looks at"))

    def tidy(settings):
        if stays:
            raise PostgresBackupError("Failed to remove it", "by hand")

    def ask(settings):
        raise DatabaseError("Failed to reach PostgreSQL", "start it")

    monkeypatch.setattr(drill, "tidy", tidy)
    monkeypatch.setattr(drill.clusters, "ask", ask)
    call = types.SimpleNamespace(settings=settings)
    expected = pytest.raises(PostgresBackupError) if stays else contextlib.nullcontext()
    with expected:
        every_second._pitr_look(call)
    seen = state.read(settings, LOOK)
    assert seen["stopped"] == "Failed to reach PostgreSQL"
    assert seen["beside"] == {
        "at": side()["at"],
        "target": "what somebody looks at",
        "directory": side()["directory"],
        "ready": True,
    }
