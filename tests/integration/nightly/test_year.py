"""A year of nights, with a moved clock: all that is to happen once in a while happens in time, and
what goes wrong is told once, and once more when it is over.

What is to go wrong stands in a :class:`Year`: a drill that nobody makes, a night without a store, a
state that is lost, a backup that is damaged where it lies, an event that somebody deletes.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import pytest

from postgres_backup.catalog import history
from postgres_backup.catalog.backups import Backup
from postgres_backup.clock import format_time, parse_timestamp
from postgres_backup.drill.database import drill_database
from postgres_backup.health import alarms, status
from postgres_backup.health.alarm_kinds import TITLES
from postgres_backup.job import Job
from postgres_backup.nightly import rotation
from tests.integration import engine
from tests.integration.nightly.nights import Server
from tests.services.proxy import Fault, FaultProxy

JOURNAL = "postgres-backup/journal/"


@dataclasses.dataclass(frozen=True)
class Year:
    """What is played; nights are counted from 1.

    :param begins: whether the first night comes after this day.
    :param drills: whether cron makes a drill after a night, of that number and date.
    :param without: the night after which that is left out, once.
    :param away: the night without a store; ``back`` is when it is there again, ``over`` the hour by
        which all has been made up for.
    :param told: what people hear of, each once, and once more when it is over.
    :param watches: so many nights between two looks of the watch.
    :param looks: and between two of the test's at the journal and the proofs.
    """

    nights: int
    begins: Callable[[date], bool]
    settings: dict[str, int]
    drills: Callable[[int, date], bool]
    without: int
    away: int
    back: str
    over: int
    state_lost: int
    damaged: int
    deleted: int
    told: tuple[str, ...]
    watches: int = 1
    looks: int = 1


WEEKS = Year(
    nights=18,
    begins=lambda day: day.isoweekday() == 1,
    settings={
        "RETENTION_DAYS": 3,
        "KEEP_WEEKLY": 2,
        "JOURNAL_DAYS": 6,
        "DRILL_MAX_DAYS": 6,
        "VERIFY_PER_NIGHT": 2,
    },
    drills=lambda night, _: night % 5 == 2,
    without=10,
    away=3,
    back="00:40",
    over=1,
    state_lost=4,
    damaged=7,
    deleted=10,
    told=("VERIFY_FAILED", "DRILL_OVERDUE"),
    watches=2,
    looks=2,
)
WHOLE = Year(
    nights=365,
    begins=lambda day: day.day == 1,
    settings={
        "RETENTION_DAYS": 7,
        "KEEP_WEEKLY": 4,
        "KEEP_MONTHLY": 6,
        "JOURNAL_DAYS": 60,
        "DRILL_MAX_DAYS": 35,
        "VERIFY_PER_NIGHT": 1,
    },
    drills=lambda _, day: day.day == 10,
    without=80,
    away=145,
    back="04:05",
    over=6,
    state_lost=160,
    damaged=180,
    deleted=250,
    told=("DRILL_OVERDUE", "BACKUP_FAILED", "VERIFY_FAILED"),
    looks=5,
)


class Played:
    """A year on a server, and what was seen of it.

    :ivar told: headlines, each with its night.
    :ivar codes: what the history finds, each with the nights.
    :ivar drilled: nights after which there was a drill, and ``left_out`` that without.
    :ivar bad: the key of the backup that was damaged, when that was, and the nights it was there.
    :ivar most: backups that were kept at a time; ``oldest`` is the longest that one was not read.
    """

    def __init__(self, year: Year, crm: Server, direct: str, fault: Fault, bucket) -> None:
        self.year, self.crm, self.direct, self.fault = year, crm, direct, fault
        self.s3_client, self.bucket = bucket
        self.told: list[tuple[int, str]] = []
        self.codes: dict[str, list[int]] = {}
        self.drilled: list[int] = []
        self.left_out = 0
        self.bad, self.bad_since, self.bad_there = "", 0, list[int]()
        self.most, self.oldest = 0, timedelta(0)

    def play(self) -> None:
        while not self.year.begins(self.crm.now.date()):
            self.crm.now += timedelta(days=1)
        for night in range(1, self.year.nights + 1):
            self._night(night)
            if self.year.drills(night, self.crm.now.date()):
                self._drill(night)
            if night % self.year.watches == 0:
                self.crm.at(12, 55)
            self.told += [(night, headline) for headline in self.crm.told[len(self.told) :]]
            if night == self.year.state_lost:
                self._lose_the_state()
            if night >= self.year.damaged and not self.bad:
                self._damage(night)
            if night == self.year.deleted:
                self._delete()
            if self.bad in engine.keys(self.s3_client, self.bucket, self.bad):
                self.bad_there.append(night)
            if night % self.year.looks == 0:
                self._look(night)

    def _night(self, night: int) -> None:
        self.crm.database.execute("INSERT INTO orders VALUES (0, 'one more')")
        if night != self.year.away:
            self.crm.at(0, 0)
            return
        self.crm.now = self.crm.now.replace(hour=23, minute=55)
        self.crm.then("00:00", lambda: setattr(self.fault, "times", 1_000_000))
        self.crm.then(self.year.back, lambda: setattr(self.fault, "times", 0))
        self.crm.go_on(self.year.over)

    def _drill(self, night: int) -> None:
        if night > self.year.without and not self.left_out:
            self.left_out = night
            return
        self.crm.now += timedelta(hours=4)
        result = drill_database(Job(self.crm.config.settings))
        assert result["passed"], result["findings"]
        self.drilled.append(night)

    def _lose_the_state(self) -> None:
        """And from now on no fault is needed: the server's numbers are of one address."""
        settings = self.crm.config.settings
        assert alarms.open_alarms(settings) == []
        shutil.rmtree(settings.state_dir)
        self.crm.config.change(S3_ENDPOINT_URL=self.direct)

    def _damage(self, night: int) -> None:
        """A backup that is kept for weeks and not for months, and that no drill has restored."""
        for backup in self._kept()[1:]:
            day = backup.dated_at
            if day.isoweekday() == 7 and day.day < 22 + self.year.looks and not backup.restored:
                self.bad, self.bad_since = backup.key, night
                there = self.s3_client.get_object(Bucket=self.bucket, Key=self.bad)["Body"].read()
                other = bytes([there[0] ^ 1]) + there[1:]
                self.s3_client.put_object(Bucket=self.bucket, Key=self.bad, Body=other)
                return

    def _delete(self) -> None:
        """An event of days ago."""
        since = JOURNAL + format_time(self.crm.now - timedelta(days=3))
        events = [key for key in engine.keys(self.s3_client, self.bucket, JOURNAL) if key >= since]
        gone = next(key for key in events if key.endswith("-backup.test-server.json"))
        self.s3_client.delete_object(Bucket=self.bucket, Key=gone)

    def _look(self, night: int) -> None:
        kept = [one for one in self._kept() if one.key != self.bad]
        self.most = max(self.most, len(kept) + bool(self.bad))
        oldest = parse_timestamp(min(rotation.last_check(one, {}) for one in kept))
        self.oldest = max(self.oldest, self.crm.now - oldest)
        for found in history.history(self.crm.config.settings)["findings"]:
            self.codes.setdefault(found["code"], []).append(night)

    def _kept(self) -> Sequence[Backup]:
        return status.look(self.crm.config.settings)[1]["crm"]

    def nights_of(self, code: str) -> tuple[int, int]:
        """When an alarm was told, and that it is over."""
        head = TITLES[code].format(database="crm")
        [began] = [night for night, headline in self.told if headline == head]
        [ended] = [night for night, headline in self.told if headline == f"over: {head}"]
        return began, ended

    def check(self) -> None:
        """All has come when it should, and no more."""
        year = self.year
        assert len(self.told) == 2 * len(year.told), self.told
        assert alarms.open_alarms(self.crm.config.settings) == []
        self._check_drills()
        self._check_rotation()
        self._check_journal()
        if "BACKUP_FAILED" in year.told:
            assert self.nights_of("BACKUP_FAILED") == (year.away, year.away)

    def _check_drills(self) -> None:
        began, ended = self.nights_of("DRILL_OVERDUE")
        last = max(night for night in self.drilled if night < self.left_out)
        most = self.year.settings["DRILL_MAX_DAYS"]
        assert 0 <= began - (last + most) < self.year.watches
        assert ended == min(night for night in self.drilled if night > self.left_out)
        paths = [request.path for request in self.crm.web.requests]
        assert paths.count("/drill/start") == paths.count("/drill") == len(self.drilled)
        assert paths.count("/drill/fail") == 0
        assert paths.count("/ping") == self.year.nights
        assert paths.count("/ping/fail") <= 2

    def _check_rotation(self) -> None:
        turn = self.most / self.year.settings["VERIFY_PER_NIGHT"] + 1
        assert self.oldest <= timedelta(days=turn + 1)
        began, ended = self.nights_of("VERIFY_FAILED")
        assert 0 < began - self.bad_since <= turn + 1
        assert max(self.bad_there) == ended - 1, "the alarm ends when the backup is pruned"

    def _check_journal(self) -> None:
        year, keeps = self.year, self.year.settings["JOURNAL_DAYS"]
        assert set(self.codes) == {"EVENT_NOT_WRITTEN", "EVENT_MISSING"}

        def looks(first: int, last: int) -> list[int]:
            return [night for night in range(first, last + 1) if night % year.looks == 0]

        # of the days that the history is asked for; what is missing is told for as long as it is
        shown = min(keeps, 7)
        seen = self.codes["EVENT_NOT_WRITTEN"]
        assert looks(year.away, year.away + shown - 1) == seen[: len(looks(0, shown - 1))]
        assert seen == looks(year.away, seen[-1])
        assert seen[-1] <= year.away + shown + 1
        seen = self.codes["EVENT_MISSING"]
        assert seen == looks(year.deleted, seen[-1])
        assert year.deleted + keeps - 4 - year.looks <= seen[-1] <= year.deleted + keeps
        oldest = min(engine.keys(self.s3_client, self.bucket, JOURNAL)).removeprefix(JOURNAL)
        assert oldest >= format_time(self.crm.now - timedelta(days=keeps + 1))


@pytest.fixture
def played(crm, at_once, s3, s3_client, bucket):
    with FaultProxy(s3.endpoint_url) as between:
        fault = between.plan("status", times=0, status=503)
        crm.config.change(
            S3_ENDPOINT_URL=between.endpoint_url,
            PING_URL=f"{crm.web.url}/ping",
            DRILL_PING_URL=f"{crm.web.url}/drill",
        )

        def play(year: Year) -> Played:
            crm.config.change(**year.settings)
            played = Played(year, crm, s3.endpoint_url, fault, (s3_client, bucket))
            played.play()
            return played

        yield play


def test_three_weeks(played):
    """Ten seconds of processor: nothing else plays drills, rotation and journal together."""
    played(WEEKS).check()


@pytest.mark.gameday
@pytest.mark.timeout(7200)
def test_a_whole_year(played):
    of = played(WHOLE)
    print(json.dumps({"kept": of.most, "days unread": of.oldest.days, "told": of.told}))
    of.check()
