"""The night comes by itself, and so does the look at what became of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from tests.servers.first_day.sites import LOG, LONG, OK_LINE
from tests.waiting import wait_for

pytestmark = LONG


def test_cron_fires_by_itself_at_the_time_in_utc(day, first_setup):
    """Whatever the server's zone is; a run outside its time does nothing."""
    before = [site.backups() for site in day.sites]
    files, timer = (
        2,
        1,
    )  # cron's file and the config; the timer, whose minute is that of the schedule
    checked = day.run("--check", "--diff", "-e", "backup_schedule_time=00:01")
    changed = {site.server.name: files + timer for site in day.sites}
    assert {name: counts["changed"] for name, counts in checked.recap.items()} == changed, (
        checked.output
    )
    # at the first full minute at which this machine will surely have changed the schedule, judging
    # by what the check took
    due = (datetime.now(timezone.utc) + timedelta(seconds=75 + 1.3 * checked.seconds)).replace(
        second=0, microsecond=0
    )
    play = day.run("-e", f"backup_schedule_time={due:%H:%M}", "--diff")
    changed = {site.server.name: files + (timer if due.minute else 0) for site in day.sites}
    assert {name: counts["changed"] for name, counts in play.recap.items()} == changed, play.output
    for site, earlier in zip(day.sites, before, strict=True):
        call = f"/usr/local/bin/postgres-backup run --at {(due + timedelta(hours=6)):%H:%M}"
        assert (
            site.server.inside(
                "runuser", "-u", "postgres-backup", "--", "env", "-i", "sh", "-c", call
            ).stdout
            == ""
        )
        assert site.backups() == earlier
        assert site.server.inside("cat", LOG).stdout == ""
    assert datetime.now(timezone.utc) < due, "the setup took longer than the test allows for"
    for site, earlier in zip(day.sites, before, strict=True):
        patience = (due - datetime.now(timezone.utc)).total_seconds() + 120
        wait_for(
            f"cron on {site.server.name}",
            lambda s=site: OK_LINE.search(s.server.inside("cat", LOG).stdout),
            timeout=patience,
            interval=2,
        )
        log = site.server.inside("cat", LOG).stdout
        assert OK_LINE.match(log.splitlines()[-1])
        [new] = set(site.backups()) - set(earlier)
        taken = datetime.strptime(new, "postgres-backup-%Y-%m-%d_%H-%M-%S.sql.gz").replace(
            tzinfo=timezone.utc
        )
        assert due <= taken < due + timedelta(minutes=1)
        assert site.program("verify", new).returncode == 0
        assert site.program("status").returncode == 0
        # the night is in the system's journal, and in the bucket's
        told = site.server.inside("journalctl", "-t", "postgres-backup", "--no-pager").stdout
        assert f" OK {site.server.name}: 1 database(s), " in told
        assert "  backup  postgres-backup-" in site.program("history", "--days", "1").stdout


def test_each_address_had_one_test_message_in_all_these_setups(day, first_setup):
    assert day.told == [
        f"{name}: a test of the alarms of postgres-backup"
        for name in sorted(site.server.name for site in day.sites)
    ]


def test_the_timer_looks_although_cron_has_stopped(site):
    server = site.server
    assert (
        server.inside("systemctl", "is-enabled", "postgres-backup-watch.timer").stdout
        == "enabled\n"
    )
    assert (
        "postgres-backup-watch.service"
        in server.inside("systemctl", "list-timers", "--no-pager").stdout
    )
    server.inside("systemctl", "stop", "cron")
    begin = ["systemctl", "start", "postgres-backup-watch.service"]
    begun = server.inside(*begin, timeout=120, check=False)
    told = ["journalctl", "--unit", "postgres-backup-watch.service", "--no-pager"]
    assert begun.returncode == 0, server.inside(*told).stdout
    server.inside("systemctl", "start", "cron")
    assert (
        "postgres_backup_last_watch_timestamp_seconds{"
        in server.inside("cat", "/var/lib/postgres-backup/postgres-backup.prom").stdout
    )
