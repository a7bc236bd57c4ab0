"""``ansible-playbook setup.yml`` from this machine onto brand-new servers, and what must come of it
by itself.

The files and their tests stand in the order of a server's first day, which is that of the alphabet:
a check of the untouched server, the setup, a second run, what lies there, the schedule, trouble and
a power loss. Each brings the setup if none was there. Two servers go through it in the same runs:
Debian 12 in Kathmandu (+05:45) by an ordinary user with sudo and a store over TLS with its own CA,
Debian 13 in Berlin (summer time) by root and a store over HTTP.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.conftest import Servers
from tests.servers.controller import Controller, Play
from tests.servers.first_day.sites import CA_FILE, Day, Site
from tests.servers.lab import Lab
from tests.servers.server import Server
from tests.services.receivers import HttpReceiver

UP_FOR_LONG = "/etc/systemd/system/postgres-backup-watch.timer.d/up-for-long.conf"


@pytest.fixture(scope="package")
def new_package_server(lab: Lab) -> Iterator[Callable[..., Server]]:
    """As ``new_server``; gone after the last test of this folder."""
    servers = Servers(lab)
    yield servers
    servers.remove()


@pytest.fixture(scope="package")
def web(lab):
    """Somebody at the bridge who is told of trouble."""
    with HttpReceiver(lab.address) as receiver:
        yield receiver


@pytest.fixture(scope="package")
def day(lab, web, lab_s3, lab_s3_tls, new_package_server, tmp_path_factory) -> Day:
    controller = Controller(lab, tmp_path_factory.mktemp("setup") / "controller")
    kathmandu = new_package_server(
        "bookworm", layer="postgres", timezone="Asia/Kathmandu", name="kathmandu"
    )
    berlin = new_package_server("trixie", layer="postgres", timezone="Europe/Berlin", name="berlin")
    kathmandu.add_user("deploy")
    kathmandu.write(CA_FILE, Path(lab_s3_tls.ca_bundle).read_text())
    sites = [
        Site(
            kathmandu,
            lab_s3_tls,
            f"backups-{secrets.token_hex(4)}",
            "deploy",
            secrets.token_urlsafe(18) + "'\"$x",
            secrets.token_hex(12),
        ),
        Site(
            berlin,
            lab_s3,
            f"backups-{secrets.token_hex(4)}",
            "root",
            secrets.token_urlsafe(18),
            secrets.token_hex(12),
        ),
    ]
    for site in sites:
        quoted = site.password.replace("'", "''")
        site.server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{quoted}'")
        site.server.sql("CREATE DATABASE crm OWNER crm")
        site.server.sql(
            "SET ROLE crm; CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);"
            'CREATE TABLE "The Orders" (id int, "what; for" text);'
            "INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 1000) n;"
            """INSERT INTO "The Orders" SELECT n, E'a\\tb\\\\.' || n"""
            " FROM generate_series(1, 500) n",
            "crm",
        )
        controller.add(
            site.server,
            site.user,
            backup_db_name="crm",
            backup_db_user="crm",
            backup_db_password=site.password,
            backup_s3_endpoint_url=site.store.endpoint_url,
            backup_s3_bucket=site.bucket,
            backup_s3_access_key=site.store.access_key,
            backup_s3_secret_key=site.store.secret_key,
            backup_s3_ca_bundle=CA_FILE if site.store.ca_bundle else "",
            backup_alert_urls=[f"json://{lab.address}:{web.port}/{site.token}"],
        )
    controller.variables()
    return Day(sites, controller, [], web)


@pytest.fixture(scope="package")
def first_setup(day) -> Play:
    """Both servers are set up: what the first run said.

    To the timer they are servers that have been up for long.
    """
    for site in day.sites:
        site.server.write(UP_FOR_LONG, "[Timer]\nOnBootSec=1s\n")
    play = day.run()
    for site in day.sites:
        site.server.inside("rm", "-r", UP_FOR_LONG.rpartition("/")[0])
        site.server.inside("systemctl", "daemon-reload")
    return play


@pytest.fixture(params=[0, 1], ids=["bookworm", "trixie"])
def site(request, day, first_setup) -> Site:
    """One of the two, set up."""
    return day.sites[request.param]
