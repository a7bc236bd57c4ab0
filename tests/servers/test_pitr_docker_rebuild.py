"""A server whose PostgreSQL ran in Docker compose is lost, and rebuilt on a new machine to its last
second: refused first for what is wrong, then broken off by a power cut between the exchange of the
data and the start of the container.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.servers.controller import Controller
from tests.servers.server import Server
from tests.servers.test_pitr import CA_FILE
from tests.servers.test_pitr_docker import (
    APP,
    ENGINE,
    LIVE,
    OVERRIDE,
    Site,
    describe,
    goes_on,
    new_site,
    set_up_there,
)
from tests.servers.test_pitr_resumed import begin
from tests.waiting import wait_for

pytestmark = [pytest.mark.gameday, pytest.mark.timeout(1800)]

FROM = ("rebuild.yml", "--limit", "boxed", "-e", "from=pitr")
OF_HOST = {"backup_db_name": "crm", "backup_db_user": "crm", "backup_pitr": True}
#: what of the application a rebuild needs
FILES = [f"{APP}/compose.yml", f"{APP}/.env", OVERRIDE, f"{APP}/pitr"]
#: before Docker's own on the way to it: says when a container is to be started, and does not
STUCK = "/usr/local/bin/docker"
REACHED = "/tmp/docker-is-asked-to-start"  # who asks may write nowhere else
OBSTACLE = f"""#!/bin/sh
if [ "$1 $2 $3" = "start -- {LIVE}" ]; then
    touch {REACHED}
    exec sleep 900
fi
exec /usr/bin/docker "$@"
"""


def refused(site: Site, why: str, *options: str) -> None:
    play = site.controller.run(*FROM, *options, check=False)
    assert play.status == 2, play.output[-4000:]
    assert why in " ".join(play.output.split()), play.output[-4000:]


def data_of(server: Server) -> str:
    """What lies in the volume of the service; empty where PostgreSQL was never begun."""
    volume = "/var/lib/docker/volumes/crm_data/_data"
    return server.inside("sh", "-c", f"if [ -e {volume} ]; then ls {volume}; fi").stdout


@pytest.fixture(scope="module")
def lost(lab, lab_s3_tls, new_module_server, tmp_path_factory) -> Site:
    """A server that kept every second, and lost its power when its last row was archived, which the
    newest nightly dump has not.
    """
    controller = Controller(lab, tmp_path_factory.mktemp("lost") / "controller")
    site = new_site(new_module_server("trixie", layer="app", name="boxed"), controller, lab_s3_tls)
    describe(site, backup_paths=FILES, backup_kit_plain=True)
    set_up_there(site)
    controller.add(site.server, **OF_HOST)
    controller.run("setup.yml")
    site.program("run", config="")
    site.sql("CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 500) n")
    site.sql("INSERT INTO users VALUES (1001)")
    piece = site.switch()
    wait_for("it", lambda: piece in " ".join(site.objects()), timeout=90)
    site.server.crash()
    site.server.down()
    return site


def test_a_lost_container_comes_back_to_its_last_second_on_a_new_machine(lost, new_server):
    new = new_server("trixie", layer="app", name="boxed")
    new.write(CA_FILE, Path(lost.store.ca_bundle).read_text())
    lost.controller.add(new, **OF_HOST)
    site = Site(new, lost.controller, lost.store, lost.bucket)

    # all of these before there is a PostgreSQL
    early = "2026-01-27T14:03:00Z lies before the first backup of the cluster"
    refused(site, early, "-e", "target_time=2026-01-27T14:03:00Z")
    config = f"{ENGINE}/pgbackrest.conf"
    new.inside("cp", "-p", config, "/root/whole.conf")
    new.inside("sed", "-i", "-e", "s/^repo1-cipher-pass=.*/repo1-cipher-pass=x/", config)
    new.inside("chown", "--reference=/root/whole.conf", config)
    refused(site, f"The archive of boxed cannot be read by the pgbackrest.conf of {LIVE}")
    new.inside("cp", "-p", "/root/whole.conf", config)
    site.type(["docker image rm postgres-pitr:17", "mv pitr/image /root/image"])
    refused(site, f"Failed to begin a container of the service db in {APP}")
    site.type(["mv /root/image pitr/image"])
    assert data_of(new) == ""
    assert LIVE not in " ".join(site.docker())

    # the data are exchanged; then the power goes before the container is started with them
    new.write(STUCK, OBSTACLE, "0755")
    first = begin(site.controller, FROM)
    try:
        wait_for("the exchange", lambda: exists(new, REACHED), timeout=400)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    new.crash()
    new.boot()
    new.inside("rm", STUCK)
    moment = "2026-01-27T14:03:00Z"
    has_come = "A rebuild to the last second has come to its data here, and now"
    refused(site, has_come, "-e", f"target_time={moment}")

    play = site.controller.run(*FROM, check=False, timeout=1200)
    said = " ".join(play.output.split())
    assert play.status == 0, play.output[-6000:]
    print(play.output[-3000:])
    assert "The lost server's cluster is there since an earlier attempt" in said
    assert "The cluster is there to its last: from" in said  # as the attempt before has seen it
    assert site.sql("SELECT count(*), max(id) FROM users") == "501|1001"
    goes_on(site, "crm_data")
    left = [one for one in site.docker() if re.search("recovered|before|archive", one)]
    assert left == []
    last = site.info()["backup"][-1]
    assert (last["type"], last["archive"]["start"][:8]) == ("full", "00000002")
    piece = site.switch()
    wait_for("it", lambda: piece in " ".join(site.objects()), timeout=90)
    site.program("run", config="")
    assert site.program("watch", config="").stdout == ""
    assert "passed" in site.program("pitr-drill").stdout
    assert site.controller.run("setup.yml").recap["boxed"]["failed"] == 0

    refused(site, "boxed has data: crm with tables in it")
    assert site.sql("SELECT count(*), max(id) FROM users") == "501|1001"


def exists(server: Server, path: str) -> bool:
    return server.inside("test", "-e", path, check=False).returncode == 0
