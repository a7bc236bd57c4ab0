"""Cron calls every quarter of an hour; a call that has nothing to do costs next to nothing."""

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import postgres_backup

#: what is loaded only by who needs it: the SDK, the driver, what compresses and encrypts, alarms,
#: metrics, the page
HEAVY = {
    "apprise",
    "boto3",
    "botocore",
    "cryptography",
    "isal",
    "jinja2",
    "prometheus_client",
    "psycopg",
    "pyrage",
    "requests",
    "urllib3",
    "zstandard",
}


def test_a_call_that_is_not_due_loads_nothing_heavy(tmp_path):
    later = datetime.now(timezone.utc) + timedelta(hours=12)
    path = os.pathsep.join([str(Path(postgres_backup.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "postgres_backup", "run"),
            *("--at", f"{later:%H:%M}", "--config", str(tmp_path / "none.env")),
        ],
        env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    imported = re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-1000:]
    assert "postgres_backup.machine.schedule" in imported
    assert HEAVY & {name.partition(".")[0] for name in imported} == set()
