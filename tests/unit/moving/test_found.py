"""What is found of older scripts, and whether it may be let go."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from postgres_backup.moving import crontabs
from postgres_backup.moving.found import CONFIG_MARK, Ours, find, is_foreign, lines
from tests.unit.moving.old_scripts import CONFIG, SCRIPT, Machine


def here(time: str) -> str:
    """A time of this machine's zone, in UTC."""
    hour, minute = map(int, time.split(":"))
    at = datetime.now().astimezone().replace(hour=hour, minute=minute)
    return f"{at.astimezone(timezone.utc):%H:%M}"


OURS = Ours(["crm"], "localhost", 5432)


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def test_the_line_of_a_users_crontab_is_found_with_all_that_belongs_to_it(machine):
    script = machine.script()
    log = f"{machine.root}/log/backup.log"
    path = machine.crontab("MAILTO=ops", "# nightly", f"0 0 * * * {script} >> {log} 2>&1")
    [found] = find(OURS, machine.places)
    assert found == {
        "kind": "cron",
        "path": str(path),
        "line": f"0 0 * * * {script} >> {log} 2>&1",
        "user": "root",
        "when": "0 0 * * *",
        "at": here("00:00"),
        "script": str(script),
        "config": f"{machine.root}/opt/backup-config.env",
        "log": log,
        "verdict": "ours",
    }
    told = "\n".join(lines([found], "", here("00:00")))
    assert "is switched off then" in told
    assert "to keep the time" not in told
    told = "\n".join(lines([found], "", "11:11"))
    assert f'to keep the time: backup_schedule_time: "{here("00:00")}"' in told
    often = found | {"when": "0 */6 * * *", "at": ""}
    assert "(0 */6 * * *) is no one time of each day" in "\n".join(lines([often], "", "11:11"))


def test_a_line_that_was_switched_off_and_a_script_of_no_backup_are_none(machine):
    script = machine.script()
    other = machine.script("#!/bin/sh\npg_dump crm > /var/backups/crm.sql\n", "", "local.sh")
    machine.crontab(f"#0 0 * * * {script}", f"5 0 * * * {other}", "@daily /usr/bin/true")
    assert find(OURS, machine.places) == []


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ("{script}", "ours"),
        ("cd {folder} && ./backup-to-s3.sh > /dev/null 2>&1", "ours"),
        ("flock -n /run/lock/b nice -n 10 bash {script} 2>&1 | logger -t backup", "ours"),
        ("{script} || echo failed | mail -s backup root", "ours"),
        (". /etc/profile; {script}", "ours"),
        ("{script} && /opt/reindex.sh", "more"),
        ("/opt/other-backup.sh; {script}", "more"),
    ],
)
def test_a_line_makes_way_only_where_nothing_else_ends_with_it(machine, command, verdict):
    script = machine.script()
    machine.crontab("@daily " + command.format(script=script, folder=script.parent))
    [found] = find(OURS, machine.places)
    assert (found["verdict"], found["when"]) == (verdict, "@daily")


@pytest.mark.parametrize(
    ("config", "verdict"),
    [
        (CONFIG, "ours"),
        (CONFIG.replace("DB_HOST=localhost", "DB_HOST=127.0.0.1"), "ours"),
        (CONFIG.replace("DB_NAME=crm", "DB_NAME=blog"), "other"),
        (CONFIG.replace("DB_HOST=localhost", "DB_HOST=db2.example.com"), "other"),
        (CONFIG.replace("DB_PORT=5432", "DB_PORT=5433"), "other"),
        (CONFIG.replace("DB_NAME=crm\n", ""), "unknown"),
        # a line of the config that is a command takes nothing from the others
        (CONFIG + "mkdir -p /var/backups\n", "ours"),
    ],
)
def test_a_script_makes_way_only_where_it_backs_up_what_we_do(machine, config, verdict):
    machine.crontab(f"0 0 * * * {machine.script(config=config)}")
    [found] = find(OURS, machine.places)
    assert found["verdict"] == verdict


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("docker exec -t db pg_dump -U crm crm | gzip | aws s3 cp - s3://b/x.sql.gz", "ours"),
        ("pg_dump postgresql://crm@localhost/crm?sslmode=disable | rclone rcat s3:b/x", "ours"),
        ('DB="${1:-crm}"; pg_dump --dbname=crm -Fc | mc pipe store/b/x', "ours"),
        ("pg_dump blog | gzip | aws --profile x s3 cp - s3://b/crm/x.sql.gz", "other"),
    ],
)
def test_a_script_without_a_config_is_known_by_its_pg_dump(machine, line, verdict):
    machine.crontab(f"0 0 * * * {machine.script(f'#!/bin/sh{chr(10)}{line}{chr(10)}', '')}")
    [found] = find(OURS, machine.places)
    assert found["verdict"] == verdict


def test_the_systems_crontab_cron_d_and_run_parts(machine):
    script = machine.script()
    (machine.root / "crontab").write_text(f"0 0 * * * deploy {script}\n")
    (machine.root / "cron.d/nightly").write_text(f"0 1 * * * root {script}\n")
    (machine.root / "cron.d/nightly.dpkg-old").write_text(f"0 2 * * * root {script}\n")
    (machine.root / "cron.daily/backup").symlink_to(script)
    assert [(one["kind"], one["user"], one["when"]) for one in find(OURS, machine.places)] == [
        ("cron", "root", "0 1 * * *"),
        ("cron", "deploy", "0 0 * * *"),
        ("folder", "root", "daily"),
    ]


def test_what_cannot_be_read_is_passed_by(machine):
    script = machine.script()
    (machine.root / "crontabs/loop").symlink_to("loop")
    (machine.root / "crontabs/binary").write_bytes(b"\xff\xfe* * * * * x\n")
    (machine.root / "crontabs/folder").mkdir()
    machine.crontab(f"0 0 * * * {script} --label=\xe9")
    assert len(find(OURS, machine.places)) == 1


def test_a_script_is_read_and_never_run(machine):
    script = machine.script(
        SCRIPT + f"\ntouch {machine.root}/ran\n",
        CONFIG.replace("DB_NAME=crm", f"DB_NAME=$(touch {machine.root}/ran)"),
    )
    machine.crontab(f"0 0 * * * {script} $(touch {machine.root}/ran)")
    [found] = find(OURS, machine.places)
    assert found["verdict"] != "ours"
    assert not (machine.root / "ran").exists()
    json.dumps(found)


def test_a_config_of_ours_is_known_by_its_first_line(tmp_path):
    config = tmp_path / "backup-config.env"
    assert not is_foreign(str(config))
    config.write_text(CONFIG)
    assert is_foreign(str(config))
    config.write_text(f"# Settings of postgres-backup, written by `{CONFIG_MARK}`\n{CONFIG}")
    assert not is_foreign(str(config))


@pytest.mark.parametrize(
    ("command", "log"),
    [
        ("x >> /var/log/a.log 2>&1", "/var/log/a.log"),
        ("x >/var/log/a.log", "/var/log/a.log"),
        ("x 2>> /var/log/err.log", ""),
        ("x > /dev/null 2>&1", ""),
        ("x | tee -a /var/log/a.log", ""),
    ],
)
def test_where_its_output_goes(command, log):
    assert crontabs.log_of(command) == log
