"""A year of rotations: what each of the keys has signed stays readable, until somebody takes its
line away.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.clock import utc_now
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.restore.database import restore_database
from postgres_backup.signing import keyring, keys
from tests.unit.signed_bucket import NOW, Bucket, new_bucket

MONTHS = [NOW - timedelta(days=30 * month) for month in range(12, -1, -1)]


@dataclasses.dataclass
class Year:
    """A server that got a new key each month, and the folder of public keys on the controller."""

    bucket: Bucket
    controller: Path

    def list(self) -> None:
        """As ``setup.yml`` lays the list of those that are believed."""
        told = keyring.believed(str(self.controller), "school-db", [], "")["trusted_signers"]
        Path(self.bucket.settings.trusted_signers_file).write_text(told)

    def trusted(self) -> list[bool]:
        """Whether each backup is, the oldest first."""
        return [backup.trusted for backup in reversed(self.bucket.backups())]


@pytest.fixture
def year(tmp_path) -> Year:
    bucket = new_bucket(tmp_path)
    settings, controller = bucket.settings, tmp_path / "inventory" / "keys"
    for at in MONTHS:
        bucket.key = keys.load(settings)
        bucket.remember(at, bucket.take(at))
        keyring.keep(str(controller), "school-db", [bucket.key.public.line])
        if at != MONTHS[-1]:
            keys.rotate(settings)
    return Year(bucket, controller)


def test_all_of_a_year_is_believed_and_kept(year):
    bucket = year.bucket
    backups = bucket.backups()
    assert len({backup.standing.fingerprint for backup in backups}) == len(MONTHS) == 13
    assert year.trusted() == [True] * 13
    kept = plan(backups, Policy(1, weekly=13, allow_many=True), utc_now())
    assert all(decision.keep for decision in kept)
    for at in (MONTHS[0], MONTHS[6]):
        with pytest.raises(DatabaseError):  # it is let pass, to a server that does not answer
            restore_database(bucket.job(), str(bucket.name(at)))
    private = Path(bucket.settings.signing_key_file)
    folder = private.parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "signing.key",
        "signing.key.old.pub",
        "signing.key.pub",
    ]
    assert len((folder / "signing.key.old.pub").read_text().splitlines()) == 12


def test_a_new_machine_with_the_controllers_keys_believes_them_all(year, tmp_path):
    (tmp_path / "rebuilt").mkdir()
    rebuilt = new_bucket(tmp_path / "rebuilt")
    rebuilt.store, year.bucket = year.bucket.store, rebuilt
    assert year.trusted() == [False] * 13
    with pytest.raises(UsageError, match="Nobody vouches for"):
        restore_database(rebuilt.job(), "latest")
    keyring.keep(str(year.controller), "school-db", [rebuilt.key.public.line])
    year.list()
    assert year.trusted() == [True] * 13
    with pytest.raises(DatabaseError):
        restore_database(rebuilt.job(), "latest")
    # one of a month is no longer to be believed: a hash sign before its line
    file = year.controller / "school-db.pub"
    lines = file.read_text().splitlines()
    assert len(lines) == 14
    lines[-3] = f"# {lines[-3]}"  # the newest comes first
    file.write_text("\n".join(lines) + "\n")
    year.list()
    assert year.trusted() == [number != 2 for number in range(13)]
    with pytest.raises(UsageError, match="Nobody vouches for") as caught:
        restore_database(rebuilt.job(), str(rebuilt.name(MONTHS[2])))
    assert [found["code"] for found in caught.value.findings] == ["SIGNED_BY_STRANGER"]
    # nor does it come back when the server tells of its keys again
    keyring.keep(str(year.controller), "school-db", [lines[-3].removeprefix("# ")])
    year.list()
    assert year.trusted().count(False) == 1


def test_a_line_that_is_taken_away_on_the_server_counts_no_more(year):
    old = Path(f"{year.bucket.settings.signing_key_file}.old.pub")
    lines = old.read_text().splitlines()
    old.write_text("\n".join(lines[:4] + lines[5:]) + "\n")
    assert year.trusted() == [number != 4 for number in range(13)]
    year.list()  # the controller still says so: both must let go of it
    assert year.trusted() == [True] * 13
