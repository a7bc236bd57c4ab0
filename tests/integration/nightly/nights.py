"""Nights played through with a moved clock: what cron and the watch do at each time of day.

The backups, the server, the store and the web server that is told are real; moved is what the
program takes for the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta

from postgres_backup.catalog import history
from postgres_backup.clock import utc_now
from postgres_backup.machine import schedule
from postgres_backup.machine.progress import Progress, Recorder
from postgres_backup.nightly.run import run_night
from postgres_backup.nightly.watch import look_around
from postgres_backup.s3.store import Store
from tests.integration import engine

MIDNIGHT = "00:00"


class Server:
    """A server's cron and timer, and its clock."""

    def __init__(self, config, web, monkeypatch) -> None:
        self.config, self.web = config, web
        # before a year: the store's clock is not moved, and nothing is written before it is taken
        self.now = utc_now().replace(hour=12, minute=0, second=0) - timedelta(days=400)
        self.up_since = self.now - timedelta(days=400)
        self.cron_runs = True
        self.log, self.events = Recorder(Progress(), most=100_000), {}
        for name, module in list(sys.modules.items()):
            if name.startswith("postgres_backup.") and hasattr(module, "utc_now"):
                monkeypatch.setattr(module, "utc_now", lambda: self.now)
        monkeypatch.setattr(schedule, "up_since", lambda: self.up_since)

    def at(self, hour: int, minute: int) -> None:
        """The clock goes on to this time of day; what is due then runs."""
        then = self.now.replace(hour=hour, minute=minute, second=0)
        self.now = then if then > self.now else then + timedelta(days=1)
        settings = self.config.settings
        if self.cron_runs and schedule.is_due(MIDNIGHT) and schedule.begin(settings, MIDNIGHT):
            run_night(settings, self.log, scheduled=True)
        elif minute:
            look_around(settings, self.log)

    def hour_after_midnight(self) -> None:
        for minute in (0, 25, 55):
            self.at(0, minute)

    def day(self) -> None:
        self.at(12, 55)
        self.at(23, 55)

    @property
    def told(self) -> list[str]:
        """The headlines so far."""
        return [
            request.json["title"].removeprefix("test-server: ")
            for request in self.web.requests
            if request.path == "/told"
        ]

    def cron(self) -> None:
        """A call of cron's, for the night."""
        settings = self.config.settings
        if schedule.begin(settings, MIDNIGHT):
            run_night(settings, self.log, scheduled=True)

    def go_on(self, hour: int, minute: int = 0, watches: bool = True, every: int = 1) -> None:
        """Cron calls every quarter of an hour, and the watch every hour, up to this time of day.

        :param every: hours between two looks of the watch.
        """
        until = self.now.replace(hour=hour, minute=minute, second=0)
        until += timedelta(days=until <= self.now)
        while self.now < until:
            self.now += timedelta(minutes=5)
            for event in self.events.pop(f"{self.now:%H:%M}", []):
                event()
            if self.cron_runs and self.now.minute % 15 == 0:
                self.cron()
            if watches and self.now.minute == 55 and self.now.hour % every == 0:
                look_around(self.config.settings, self.log)

    def then(self, time: str, *events: Callable[[], object]) -> None:
        """What is to happen at a time of day while the clock goes on, before cron calls."""
        self.events[time] = [*self.events.get(time, []), *events]

    @property
    def history(self) -> list[str]:
        """What happened by the journal, the oldest first: time, event, when it is tried again."""
        settings = self.config.settings
        since = self.now - timedelta(days=30)
        return [
            f"{event['at'][11:16]} {event['event']} {event.get('again_at', '')[11:16]}".rstrip()
            for event in reversed(history.events(settings, Store(settings), since))
            if event["event"] not in ("alarm", "alarm-over", "settings")
        ]


def backups(s3_client, bucket: str) -> list[str]:
    return engine.keys(s3_client, bucket, "postgres-backup/postgres-backup-")
