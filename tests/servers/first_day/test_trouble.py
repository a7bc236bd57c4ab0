"""A server that is down, somebody who looks for secrets, and a power loss."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time

from tests.servers.first_day.sites import CONFIG, LOG, LONG, OK_LINE
from tests.servers.server import Server
from tests.waiting import wait_for

pytestmark = LONG


def test_a_failed_backup_is_told_once_and_once_when_it_is_over(day, site):
    before = len(day.told)
    site.server.inside("systemctl", "stop", "postgresql")
    for _ in range(2):
        assert site.program("run", check=False).returncode == 1
    site.server.inside("systemctl", "start", "postgresql")
    assert day.told.count(f"{site.server.name}: the backup of crm failed") == 1
    assert site.program("run").returncode == 0
    assert day.told.count(f"{site.server.name}: over: the backup of crm failed") == 1
    assert len(day.told) == before + 2


# Notes every argument list on the server until its standard input ends, some forty times a second,
# the short-lived ones included.
_WATCH = """
import glob, json, os, sys, threading, time
seen, over = set(), threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.is_set():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                seen.add(file.read().replace(b"\\0", b" ").decode(errors="replace"))
        except OSError:
            pass
    time.sleep(0.025)
print(json.dumps(sorted(seen)))
"""


def test_backup_and_restore_show_no_secret(day, first_setup):
    """Not in the argument list of any process, a log, the journal, a file that others may read, or
    what ``-vvv`` prints.
    """
    watch = shlex.join(["python3", "-c", _WATCH])
    watches = [
        subprocess.Popen(
            [*site.server.ssh_command(), watch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for site in day.sites
    ]
    try:
        day.run("-vvv", playbook="playbooks/backup.yml")
        day.run("-vvv", "--limit", "all", "-e", "backup=latest", playbook="restore.yml")
    finally:
        seen = [watch.communicate("", timeout=60)[0] for watch in watches]
    for verb, play in zip(("dumping", "loading"), day.plays[-2:], strict=True):
        for site in day.sites:  # while it lasts, also over ssh and for two at once
            assert re.search(rf"^    {site.server.name}: {verb} ", play.output, re.MULTILINE), (
                play.output[-4000:]
            )
    for site, argument_lists in zip(day.sites, seen, strict=True):
        lines = json.loads(argument_lists)
        # else the watch looked away
        assert any("pg_dump" in line for line in lines), lines
        journal = site.server.inside("journalctl", "--no-pager", "--all").stdout
        log = site.server.inside("sh", "-c", f"cat {LOG}*").stdout
        for secret in site.secrets:
            assert [line for line in lines if secret in line] == []
            assert secret not in journal + log
            assert [play for play in day.plays if secret in play.output] == []
        assert _files_with(site.server, site.secrets) == [CONFIG]
        assert site.server.sql("SELECT count(*) FROM users", "crm") == "1000"


def _files_with(server: Server, words: list[str]) -> list[str]:
    """The files, but PostgreSQL's own, that hold one of these words.

    They travel by standard input: an argument list would show them.
    """
    places = "/etc /home /opt /root /run /srv /tmp /usr/local /var".split()
    search = [
        "grep",
        "--recursive",
        "--files-with-matches",
        "--fixed-strings",
        "--devices=skip",
        "--file=-",
        "--exclude-dir=postgresql",
        *places,
    ]
    return server.inside(*search, check=False, input="\n".join(words) + "\n").stdout.split()


def test_power_loss_in_the_middle_of_a_backup(site):
    """No object under a backup's name, the next run is clean, and the parts of the lost one are
    swept.
    """
    before = site.backups()
    site.server.sql(
        "CREATE TABLE noise AS SELECT n, string_agg(md5(random()::text), '')"
        " FROM generate_series(1, 40000) n, generate_series(1, 20) GROUP BY n",
        "crm",
    )
    site.server.sql("ALTER TABLE noise OWNER TO crm", "crm")
    site.server.slow_link("40mbit")
    site.server.inside(
        "systemd-run",
        "--unit=nightly",
        "--uid=postgres-backup",
        "/usr/local/bin/postgres-backup",
        "run",
    )
    wait_for(
        "parts in the store",
        lambda: site.client.list_multipart_uploads(Bucket=site.bucket).get("Uploads"),
        timeout=60,
    )
    time.sleep(1)
    site.server.crash()
    assert site.backups() == before
    site.server.boot()
    site.server.slow_link()
    unfinished = site.client.list_multipart_uploads(Bucket=site.bucket)["Uploads"]
    assert len(unfinished) == 1
    done = site.program("run")
    assert OK_LINE.search(done.stdout + done.stderr), done
    [new] = set(site.backups()) - set(before)
    assert site.program("verify", new).returncode == 0
    assert site.manifest(new)["tables"]["public.noise"]["rows"] == 40000
    # what was begun is remembered over a power loss, so it is removed at once, and told by its name
    lost = unfinished[0]["Key"].rpartition("/")[2]
    assert f"had left of {lost}: 1 unfinished uploads" in done.stdout + done.stderr
    assert "Uploads" not in site.client.list_multipart_uploads(Bucket=site.bucket)
