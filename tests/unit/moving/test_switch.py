"""From the old schedule to ours, and back: byte for byte, and after any cut."""

from __future__ import annotations

import json
import os

import pytest

from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.machine import laid
from postgres_backup.moving import switch as switching
from postgres_backup.moving.found import Ours, find
from postgres_backup.moving.switch import OLD, UNDONE, Wanted, switch, undo
from tests.unit.moving.old_scripts import CONFIG, Machine

OURS = Ours(["crm"], "localhost", 5432)
NEW_CONFIG = "# ours\n"


class Move:
    """A machine on which the old config and log lie where ours go."""

    def __init__(self, root) -> None:
        self.machine = Machine(root)
        self.etc = root / "etc"
        self.etc.mkdir(mode=0o750)
        self.config, self.log = self.etc / "backup-config.env", root / "log/backup.log"
        self.config.write_text(CONFIG)
        self.log.write_text("old lines\n")
        script = self.machine.script()
        self.crontab = self.machine.crontab(
            "MAILTO=ops", f"0 0 * * * {script} >> {self.log} 2>&1", "5 5 * * * /bin/true"
        )
        self.staged = root / "staged"
        self.staged.mkdir()
        (self.staged / "backup-config.env").write_text(NEW_CONFIG)
        (self.staged / "signing.key").write_text("a key\n")
        self.cron = root / "cron.d/postgres-backup"
        self.record = root / "record.json"

    def wanted(self) -> Wanted:
        return Wanted(
            found=find(OURS, self.machine.places),
            staged=str(self.staged),
            config=str(self.config),
            log=str(self.log),
            files=[
                laid.Wanted(str(self.etc), 0o755, folder=True),
                laid.Wanted(str(self.log), 0o640),
                laid.Wanted(str(self.cron), 0o644, content="* * * * * root ours run\n"),
            ],
            record=str(self.record),
        )

    def state(self) -> dict[str, object]:
        """Every file with its bytes and mode, and the folders' modes."""
        found: dict[str, object] = {}
        for folder, _, names in os.walk(self.machine.root):
            found[folder] = os.stat(folder).st_mode
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[path] = (file.read(), os.stat(path).st_mode)
        return found

    def nights(self) -> list[str]:
        """Who would back up tonight, and whether his config is there."""
        who = ["old" for _ in find(OURS, self.machine.places)]
        config = self.config.read_text()
        assert not who or config == CONFIG or (self.etc / f"backup-config.env{OLD}").exists()
        if self.cron.exists() and "ours" in self.cron.read_text():
            who.append("ours")
            assert config == NEW_CONFIG
        return who


@pytest.fixture
def move(tmp_path) -> Move:
    return Move(tmp_path)


def test_there_and_back_is_byte_for_byte(move):
    before = move.state()
    said = switch(move.wanted(), check=True)
    assert move.state() == before
    done = switch(move.wanted())
    assert {**done, "changed": None} == {**said, "changed": None}
    assert move.nights() == ["ours"]
    assert move.config.read_text() == NEW_CONFIG
    assert (move.etc / "signing.key").read_text() == "a key\n"
    assert (move.etc / f"backup-config.env{OLD}").read_text() == CONFIG
    assert move.log.read_text() == ""
    assert move.log.with_name(move.log.name + OLD).read_text() == "old lines\n"
    assert "# switched" not in move.crontab.read_text()
    assert move.crontab.read_text().count("\n") == 4
    assert not switch(move.wanted())["changed"]
    move.log.write_text("a line of ours\n")
    assert undo(str(move.record), check=True)["changed"]
    assert undo(str(move.record))["findings"] == []
    after = move.state()
    assert after.pop(f"{move.log}{UNDONE}")[0] == b"a line of ours\n"
    assert after == before
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(str(move.record))
    switch(move.wanted())
    assert move.nights() == ["ours"]


def cuts(monkeypatch, number: int) -> list[str]:
    """The so-many-th change of a file fails, as on a full disk."""
    done: list[str] = []

    def counted(name: str, real):
        def change(*words, **named):
            done.append(name)
            if len(done) == number:
                raise OSError(28, "No space left on device", str(words[0]))
            return real(*words, **named)

        return change

    for name in ("link", "unlink", "rename", "replace", "chown", "chmod"):
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return done


def failure(call) -> PostgresBackupError | None:
    try:
        call()
    except PostgresBackupError as error:
        return error
    return None


@pytest.mark.parametrize("number", range(1, 12))
def test_cut_anywhere_somebody_backs_up_tonight_and_the_next_call_goes_on(
    move, monkeypatch, number
):
    with monkeypatch.context() as patched:
        done = cuts(patched, number)
        error = failure(lambda: switch(move.wanted()))
    assert ("No space left on device" in str(error)) == (len(done) >= number)
    assert move.nights()
    switch(move.wanted())
    assert move.nights() == ["ours"]
    assert (move.etc / f"backup-config.env{OLD}").read_text() == CONFIG
    assert move.log.with_name(move.log.name + OLD).read_text() == "old lines\n"


@pytest.mark.parametrize("number", range(1, 12))
def test_a_way_back_that_was_cut_goes_on(move, monkeypatch, number):
    before = move.state()
    switch(move.wanted())
    with monkeypatch.context() as patched:
        done = cuts(patched, number)
        error = failure(lambda: undo(str(move.record)))
    assert ("it goes on where it has stopped" in str(error)) == (len(done) >= number)
    if move.record.exists():
        undo(str(move.record))
    after = move.state()
    after.pop(f"{move.log}{UNDONE}")
    assert after == before


def test_our_crontab_of_the_same_name_as_theirs(tmp_path):
    move = Move(tmp_path)
    move.crontab.unlink()
    move.cron.write_text(f"0 0 * * * root {move.machine.root}/opt/backup-to-s3.sh\n")
    before = move.state()
    switch(move.wanted())
    assert move.nights() == ["ours"]
    undo(str(move.record))
    assert move.nights() == ["old"]
    assert {name for name in move.state() if UNDONE not in name} == set(before)


def test_a_crontab_that_was_changed_meanwhile_is_left_and_told(move):
    switch(move.wanted())
    changed = move.crontab.read_text().replace(switching.OFF, "# by hand: ")
    move.crontab.write_text(changed)
    [told] = undo(str(move.record))["findings"]
    assert told["code"] == "SCHEDULE_CHANGED"
    assert move.crontab.read_text() == changed


@pytest.mark.parametrize("content", ["", "[]", '{"off": 1}', '{"folders": [{"path": 1}]}'])
def test_a_record_that_is_none_is_refused(move, content):
    move.record.write_text(content or "{")
    with pytest.raises(UsageError, match="Failed to read"):
        undo(str(move.record))


def test_a_record_that_others_may_write_is_refused(move):
    switch(move.wanted())
    move.record.chmod(0o666)
    json.loads(move.record.read_text())
    with pytest.raises(UsageError, match="others may write it"):
        undo(str(move.record))
