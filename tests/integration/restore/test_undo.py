"""Going back: the database that a restore replaced, its own comment and all, and back again."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest
from psycopg import sql

from postgres_backup.backup.database import create_backup
from postgres_backup.clock import utc_now
from postgres_backup.errors import DatabaseError, LockedError, UsageError
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql import replaced
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.restore import database as restore_room
from postgres_backup.restore.tables import restore_tables
from tests.integration import engine
from tests.integration.restoring import databases_of, run_sql


@pytest.fixture
def diary(database, config):
    """A database with a comment and one row, backed up, and changed since."""
    server, name = database.server, database.name
    run_sql(
        server,
        name,
        "SET ROLE {owner}",
        "CREATE TABLE day (said text)",
        "INSERT INTO day VALUES ('first')",
        owner=database.owner,
    )
    run_sql(server, "postgres", "COMMENT ON DATABASE {name} IS 'the {{diary}}'", name=name)
    create_backup(Job(config.settings))
    run_sql(server, name, "UPDATE day SET said = 'second'")
    return database


def said(made, name: str = "") -> str:
    return made.server.execute("SELECT said FROM day", name or made.name)[0][0]


def comment(made, name: str = "") -> str:
    return made.server.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        params=(name or made.name,),
    )[0][0]


def kept(config, made) -> list[str]:
    with connect_maintenance(config.settings, made.name) as connection:
        return [database.name for database in replaced.kept(connection, made.name)]


def test_there_and_back_again(diary, config):
    with pytest.raises(UsageError, match="Nothing to undo"):
        restore_room.undo_restore(Job(config.settings))
    first = restore_room.restore_database(Job(config.settings), "latest")["kept_database"]
    assert (said(diary), comment(diary), said(diary, first)) == ("first", "the {diary}", "second")
    facts = json.loads(comment(diary, first))
    assert (facts["comment"], facts["database"], facts["by"][:10]) == (
        "the {diary}",
        diary.name,
        "restore of",
    )
    names, said_before = databases_of(diary.server), said(diary)
    planned = restore_room.undo_restore(Job(config.settings, check=True))
    assert (databases_of(diary.server), said(diary)) == (names, said_before)
    undone = restore_room.undo_restore(Job(config.settings))
    assert undone["restored_database"] == planned["restored_database"] == first
    assert undone["downtime_seconds"] < 5
    assert (said(diary), comment(diary)) == ("second", "the {diary}")
    for expected in ("first", "second", "first"):
        restore_room.undo_restore(Job(config.settings))
        assert (said(diary), comment(diary)) == (expected, "the {diary}")
        assert len(kept(config, diary)) == 1


@pytest.mark.parametrize(
    "step",
    [timedelta(), timedelta(minutes=-1)],
    ids=["all in one second", "a clock that goes back"],
)
def test_which_one_is_the_newest_is_never_in_doubt(diary, config, monkeypatch, step):
    moments = itertools.accumulate(itertools.repeat(step), initial=utc_now())
    monkeypatch.setattr(replaced, "server_now", lambda connection: next(moments))
    for number in range(4):
        run_sql(diary.server, diary.name, f"UPDATE day SET said = 'live {number}'")
        restore_room.restore_database(Job(config.settings), "latest")
        assert said(diary) == "first"
        restore_room.undo_restore(Job(config.settings))
        assert said(diary) == f"live {number}"


def test_one_of_several_is_chosen_by_name(diary, config):
    """The newest where none is named; a slip of the pen gets the nearest ones."""
    made = []
    for text in ("second", "third", "fourth"):
        run_sql(
            diary.server, diary.name, "UPDATE day SET said = " + sql.Literal(text).as_string(None)
        )
        made.append(restore_room.restore_database(Job(config.settings), "latest")["kept_database"])
    assert kept(config, diary) == made[::-1]
    with pytest.raises(UsageError) as caught:
        restore_room.undo_restore(Job(config.settings), kept=made[0] + "x")
    assert made[0] in caught.value.hint
    assert caught.value.exit_status == 2
    done = engine.run(config.path, "undo-restore", made[0], "--json")
    assert engine.answer(done)["restored_database"] == made[0]
    assert said(diary) == "second"
    assert set(kept(config, diary)) == {*made[1:], engine.answer(done)["kept_database"]}


def undoing(config, kept: str = "", check: bool = False):
    return restore_room.undo_restore(Job(config.settings, check=check), kept)


def test_a_restore_of_tables_is_the_last_thing_too(diary, config):
    first = restore_room.restore_database(Job(config.settings), "latest")["kept_database"]
    run_sql(diary.server, diary.name, "UPDATE day SET said = 'days of work'")
    # what changes nothing is nothing to be undone
    assert restore_tables(Job(config.settings, check=True), "latest", ["day"])["changed"]
    assert undoing(config, check=True)["restored_database"] == first
    rows = restore_tables(Job(config.settings), "latest", ["day"])["kept_database"]
    assert kept(config, diary) == [rows, first]
    assert undoing(config)["restored_database"] == rows
    assert said(diary) == "days of work"
    # by its name the whole database comes back, and that is the last thing then
    assert undoing(config, first)["restored_database"] == first
    undoing(config)
    assert said(diary) == "days of work"


def test_an_undo_takes_back_the_last_thing_or_says_that_it_cannot(diary, config):
    """After a restore that keeps nothing, the newest that is kept is older than the last thing."""
    first = restore_room.restore_database(Job(config.settings), "latest")["kept_database"]
    run_sql(diary.server, diary.name, "UPDATE day SET said = 'days of work'")
    name = restore_room.restore_database(Job(config.settings), "latest", True)["backup"]
    run_sql(diary.server, diary.name, "UPDATE day SET said = 'more work'")
    for check in (True, False):
        with pytest.raises(UsageError) as caught:
            undoing(config, check=check)
        assert caught.value.message.startswith(
            f"The last thing done to {diary.name} was the restore in place of {name}, at 20"
        )
        assert "it cannot be undone" in caught.value.message
        assert f"postgres-backup undo-restore {first} " in caught.value.hint
        assert caught.value.exit_status == 2
    assert said(diary) == "more work"
    # by its name it comes back, and that is the last thing then
    assert undoing(config, first)["restored_database"] == first
    assert said(diary) == "second"
    undoing(config)
    assert said(diary) == "more work"
    # so is a restore that keeps what is live
    restore_room.restore_database(Job(config.settings), "latest")
    undoing(config)
    assert said(diary) == "more work"


def test_an_undo_does_not_take_back_what_somebody_did_by_hand(diary, config):
    restore_room.restore_database(Job(config.settings), "latest")
    made = restore_room.restore_database(Job(config.settings), "latest")["kept_database"]
    run_sql(
        diary.server,
        "postgres",
        "ALTER DATABASE {live} RENAME TO {broken}",
        "ALTER DATABASE {made} RENAME TO {live}",
        live=diary.name,
        made=made,
        broken=f"{diary.name}_broken",
    )
    # as it was after the first restore, which is now the last thing; the mark that came along with
    # the name goes no further
    done = undoing(config)
    assert (said(diary), comment(diary)) == ("second", "the {diary}")
    assert json.loads(comment(diary, done["kept_database"]))["comment"] == "the {diary}"
    run_sql(
        diary.server,
        "postgres",
        "DROP DATABASE {live}",
        "CREATE DATABASE {live} OWNER {owner}",
        live=diary.name,
        owner=diary.owner,
    )
    with pytest.raises(UsageError, match="somebody has renamed or made it by hand") as caught:
        undoing(config)
    [older] = kept(config, diary)
    assert f"undo-restore {older} " in caught.value.hint
    undoing(config, older)
    assert said(diary) == "first"


def test_a_live_database_that_is_gone(diary, config):
    """Nothing to keep then, and nobody to wait for."""
    first = restore_room.restore_database(Job(config.settings), "latest")["kept_database"]
    run_sql(diary.server, "postgres", "DROP DATABASE {name}", name=diary.name)
    result = restore_room.undo_restore(Job(config.settings))
    assert (result["restored_database"], result["kept_database"], result["downtime_seconds"]) == (
        first,
        None,
        0.0,
    )
    assert (said(diary), comment(diary)) == ("second", "the {diary}")


def test_comments_that_are_not_ours(diary, config, new_database):
    """Another database's, somebody's JSON, somebody's brace, and one that lies halfway: none of
    them is chosen.
    """
    theirs = {}
    for text in (
        "{",
        "{}",
        '{"postgres-backup": "replaced"}',
        f'{{"postgres-backup": "replaced", "database": "{diary.name}"}}',
        '{"postgres-backup": 7}',
    ):
        other = new_database(owner="").name
        theirs[other] = text
        run_sql(
            diary.server,
            "postgres",
            "COMMENT ON DATABASE {other} IS "
            + sql.Literal(text).as_string(None).replace("{", "{{").replace("}", "}}"),
            other=other,
        )
    with pytest.raises(UsageError, match="Nothing to undo"):
        restore_room.undo_restore(Job(config.settings))
    first = restore_room.restore_database(Job(config.settings), "latest")["kept_database"]
    assert restore_room.undo_restore(Job(config.settings))["restored_database"] == first
    assert {name: comment(diary, name) for name in theirs} == theirs


def test_what_stands_in_the_way_is_named_in_check_mode_too(diary, config):
    restore_room.restore_database(Job(config.settings), "latest")
    with diary.server.connect(diary.name):
        for check in (True, False):
            with pytest.raises(DatabaseError, match="may not close the connections of postgres"):
                restore_room.undo_restore(Job(config.settings, check=check))
    assert said(diary) == "first"


def test_not_while_a_restore_is_at_work(diary, config):
    restore_room.restore_database(Job(config.settings), "latest")

    class Meanwhile(Progress):
        def step(self, text: str) -> None:
            if text.startswith("loading"):
                with pytest.raises(LockedError, match="restore since"):
                    restore_room.undo_restore(Job(config.settings))
                seen.append(text)

    seen = []
    restore_room.restore_database(Job(config.settings, progress=Meanwhile()), "latest")
    assert len(seen) == 1
