"""A check of the untouched servers, their setup, and a second run, which has nothing to do."""

from __future__ import annotations

from tests.servers.first_day.sites import LONG, PREFIX, Day, state
from tests.waiting import wait_for

pytestmark = LONG


def test_check_mode_on_the_untouched_server_touches_nothing(day):
    before = [state(site.server) for site in day.sites]
    play = day.run("--check", "--diff")
    for site, earlier in zip(day.sites, before, strict=True):
        assert sorted(set(state(site.server)) ^ set(earlier)) == []
        assert play.recap[site.server.name]["changed"] > 5  # it says what it would do
        assert site.bucket not in [
            bucket["Name"] for bucket in site.client.list_buckets()["Buckets"]
        ]
    assert "postgres-backup run --at 00:00" in play.output  # the schedule, in the diff
    assert not day.keys.exists()


def test_setup_makes_backups_that_are_proven(day, first_setup):
    play = first_setup
    for site in day.sites:
        assert (
            play.recap[site.server.name]["failed"]
            == play.recap[site.server.name]["unreachable"]
            == 0
        )
        [backup] = site.backups()
        manifest = site.manifest(backup)
        assert manifest["rows"] == 1500
        proofs = site.client.list_objects_v2(Bucket=site.bucket, Prefix=f"{PREFIX}proofs/")
        [proof, signature] = [item["Key"] for item in proofs["Contents"]]
        assert signature == f"{proof}.sig", "the first backup is verified, once"
        assert site.program("verify", "latest").returncode == 0


def test_the_first_look_comes_when_there_is_a_backup(day, first_setup):
    """Else somebody is told of a server without backups while it is being set up."""
    for site in day.sites:
        assert (
            wait_for(
                f"the first look on {site.server.name}",
                lambda s=site: (
                    s.server.inside(
                        *("journalctl", "-u", "postgres-backup-watch.service", "-o", "cat"),
                    ).stdout
                ),
                timeout=30,
            ).count("Finished")
            in (1, 2)  # the hour's own may have come meanwhile
        )
        shown = ("systemctl", "show", "-P", "ExecMainStatus", "postgres-backup-watch.service")
        assert site.server.inside(*shown).stdout == "0\n"
    assert len(day.told) == len(day.sites)  # the test of the alarms


def _last_looks(day: Day) -> list[str]:
    """When each server has looked around last."""
    stat = ("stat", "-c", "%y", "/var/lib/postgres-backup/last-look.json")
    return [site.server.inside(*stat).stdout for site in day.sites]


#: tasks that a setup runs or skips for a server on which all is as it should be, and beside them
#: those that it runs once for all: each is a process on the controller, some 20 ms (docs/scale.md)
TASKS, ONCE = 48, 4


def test_a_second_run_changes_nothing(day, first_setup):
    looked: list[str] = []
    # again where a look of its own came meanwhile: one is due five minutes after a boot
    while looked != (looked := _last_looks(day)):
        before = [state(site.server) for site in day.sites]
        play = day.run("--diff")
        assert {name: counts["changed"] for name, counts in play.recap.items()} == {
            site.server.name: 0 for site in day.sites
        }, play.output
    runs = sorted(counts["ok"] + counts["skipped"] for counts in play.recap.values())
    assert runs[0] <= TASKS, play.output
    assert runs[-1] <= TASKS + ONCE
    for site, earlier in zip(day.sites, before, strict=True):
        assert sorted(set(state(site.server)) ^ set(earlier)) == []
