"""What cron and systemd call is understood: else it never runs, and says so to nobody."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

import jinja2
import pytest

from tests.unit.cli.whole import command_line

ROLES = Path(__file__).parents[3] / "roles"
PROGRAM = "/usr/local/bin/postgres-backup"
VARIABLES = {
    "inventory_hostname": "db1",
    "backup_command": PROGRAM,
    "backup_user": "postgres-backup",
    "backup_schedule_time": "00:00",
    "backup_log_file": "/var/log/postgres-backup.log",
    "backup_config_file": "/etc/postgres-backup/backup-config.env",
    "backup_drill_schedule": "monthly",
    "backup_age_recipients": [],
    "backup_databases": ["crm", "shop"],
    "__pitr_user": "postgres",
    "__pitr_log": "/var/log/postgres-backup-pitr.log",
    "__pitr_config": "/etc/postgres-backup-pitr/config.env",
    "__pitr_in_container": False,
}


@pytest.mark.parametrize(
    ("template", "commands"),
    [
        ("backup/templates/cron.j2", ["run", "watch", "drill", "drill"]),
        ("backup/templates/watch.service.j2", ["watch"]),
        ("pitr/templates/cron.j2", ["pitr-backup", "pitr-drill", "pitr-look", "pitr-watch"]),
    ],
)
def test_what_is_scheduled_is_understood(template, commands):
    jinja = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    jinja.filters["quote"] = shlex.quote
    jinja.filters["hash"] = lambda text, kind: hashlib.new(kind, text.encode()).hexdigest()
    text = jinja.from_string((ROLES / template).read_text()).render(VARIABLES)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    called = [call for line in lines for call in line.split(f"{PROGRAM} ")[1:]]
    words = [shlex.split(re.split("[;>]", call)[0]) for call in called]
    understood = [command_line().understand(each) for each in words]
    assert [asked.command for asked in understood] == commands
