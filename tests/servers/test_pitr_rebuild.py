"""A server that is lost under load, and rebuilt on a new machine to its last second."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.servers.controller import Controller
from tests.servers.test_pitr import CA_FILE, CONFIG, Site, new_site
from tests.waiting import wait_for

#: four minutes, for a server that is set up, lost and rebuilt
pytestmark = [pytest.mark.gameday, pytest.mark.timeout(1800)]

#: seconds that may be lost as it is set, and within which a piece of the log is handed on then
RPO, OFTEN = 60, 12
NEWEST = "SELECT max(mtime), count(*) FROM pgbench_history"
FROM = ("rebuild.yml", "--limit", "minute", "-e", "from=pitr")


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@dataclasses.dataclass
class Lost:
    """A server that is gone, and what was known of it a moment before.

    :param acknowledged: when its last transaction was that anybody has seen; ``rows`` of them.
    :param key: of its archive.
    """

    site: Site
    identifier: str
    acknowledged: str
    rows: int
    key: str


@pytest.fixture(scope="module")
def lost(lab, lab_s3_tls, new_module_server, tmp_path_factory) -> Lost:
    """A server that kept every second, and lost its power under load."""
    controller = Controller(lab, tmp_path_factory.mktemp("lost") / "controller")
    server = new_module_server("trixie", layer="ready", name="minute")
    site = new_site(
        server, controller, lab_s3_tls, backup_pitr_rpo_seconds=RPO, backup_drill_schedule=""
    )
    server.inside("runuser", "-u", "postgres", "--", *bench("-i", "-q", "-s", "5"))
    for table in ("accounts", "branches", "history", "tellers"):
        server.sql(f"ALTER TABLE pgbench_{table} OWNER TO crm", "crm")
    controller.run("setup.yml", "-e", "backup_pitr_allow_restart=true")
    identifier = server.sql("SELECT system_identifier FROM pg_control_system()")
    load = ["systemd-run", "--unit=load", "--uid=postgres", *bench("-c", "2", "-T", "900")]
    server.inside(*load)
    archived = "SELECT archived_count FROM pg_stat_archiver"
    before = int(server.sql(archived))
    wait_for("pieces of the load", lambda: int(server.sql(archived)) > before + 2, timeout=120)
    assert "Drill of every second: passed" in site.program("pitr-drill").stdout  # under load too
    acknowledged, rows = server.sql(NEWEST, "crm").split("|")
    server.crash()
    server.down()
    [file] = (controller.inventory / "host_vars").glob("minute*pitr_key.yml")
    key = re.search(r"backup_pitr_cipher_key: (\S+)", file.read_text())[1]
    return Lost(site, identifier, acknowledged, int(rows), key)


def bench(*words: str) -> list[str]:
    return ["/usr/lib/postgresql/17/bin/pgbench", *words, "crm"]


def refused(site: Site, words: tuple[str, ...], why: str) -> None:
    play = site.controller.run(*words, check=False)
    assert play.status == 2, play.output[-4000:]
    assert why in flat(play.output), play.output[-4000:]


def test_what_cannot_be_recovered_there_is_refused_before_there_is_a_postgresql(
    lost, new_server, lab
):
    site, words = lost.site, ("rebuild.yml", "--limit", "elsewhere", "-e", "from=pitr")
    other = new_server("bookworm", name="elsewhere")
    other.write(CA_FILE, Path(site.store.ca_bundle).read_text())
    # its engine finds a store by a name alone
    other.inside("sh", "-c", f"echo {lab.address} {site.bucket}.localhost >> /etc/hosts")
    site.controller.add(
        other,
        backup_db_name="crm",
        backup_db_user="crm",
        backup_pitr=True,
        backup_s3_endpoint_url=site.store.endpoint_url.replace(lab.address, "localhost"),
        backup_s3_addressing_style="virtual",
        backup_pitr_cipher_key=lost.key,
    )
    refused(site, words, "There is no archive of elsewhere in the bucket; there are: minute")
    named = (*words, "-e", "backup_server_name=minute")
    refused(site, named, "The archive is of PostgreSQL 17, which cannot be installed here")
    for wrong, why in (
        ("", "is encrypted, and backup_pitr_cipher_key is not set"),
        ("x" * 40, "The archive of minute cannot be read by backup_pitr_cipher_key"),
    ):
        given = json.dumps({"backup_pitr_cipher_key": wrong})
        refused(site, (*named, "-e", given), why)
    assert other.inside("test", "-e", "/usr/lib/postgresql", check=False).returncode == 1


def test_a_server_that_lost_its_power_under_load_is_rebuilt_to_its_last_second(lost, new_server):
    site = lost.site
    new = new_server("trixie", name="minute")
    new.write(CA_FILE, Path(site.store.ca_bundle).read_text())
    site.controller.add(
        new,
        backup_db_name="crm",
        backup_db_user="crm",
        backup_pitr=True,
        backup_pitr_cipher_key=lost.key,
    )
    play = site.controller.run(*FROM, check=False, timeout=1200)
    print(play.output[-3500:])
    assert play.status == 0, play.output[-6000:]
    reached, kept = new.sql(NEWEST, "crm").split("|")
    moments = [datetime.fromisoformat(one) for one in (lost.acknowledged, reached)]
    seconds = (moments[0] - moments[1]).total_seconds()
    print(
        f"lost with the power: {max(seconds, 0):.1f} s of commits, {lost.rows - int(kept)} of "
        f"{lost.rows} transactions; rebuilt in {play.seconds:.0f} s"
    )
    assert int(kept) > 0
    assert seconds <= 2 * OFTEN  # one piece that fills, and the one that was on its way
    assert new.sql("SELECT system_identifier FROM pg_control_system()") == lost.identifier
    assert new.sql("SELECT sum(abalance) FROM pgbench_accounts", "crm") == (
        new.sql("SELECT sum(delta) FROM pgbench_history", "crm")
    )
    # it goes on as the old one: it archives, on a new line of time, and has a full backup of that
    rebuilt = Site(new, site.controller, site.store, site.bucket)
    assert rebuilt.folders() == ["main", "main-pitr-spool"]
    last = rebuilt.info()["backup"][-1]
    assert (last["type"], last["archive"]["start"][:8]) == ("full", "00000002")
    piece = rebuilt.switch()
    wait_for("it", lambda: piece in " ".join(rebuilt.keys("postgres-backup-pitr/")), timeout=90)
    assert f"{last['label']} is its first backup" in play.output
    assert rebuilt.program("pitr-watch", config="").stdout == ""
    assert "every second: kept from" in rebuilt.program("list", config="").stdout
    assert rebuilt.program("pitr-look", config=CONFIG).returncode == 0
    again = site.controller.run("setup.yml", "--limit", new.name)
    assert again.recap["minute"]["failed"] == 0
