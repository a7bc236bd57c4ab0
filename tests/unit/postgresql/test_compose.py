"""Which services of a compose application hold the database, from what Docker tells."""

from __future__ import annotations

import http.server
import threading

import pytest

from postgres_backup.errors import UsageError
from postgres_backup.postgresql import compose
from postgres_backup.postgresql.compose import Place

NETWORK = {"crm_default": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": ""}}
OTHER = {"crm_default": {"IPAddress": "172.18.0.3", "GlobalIPv6Address": ""}}
PUBLISHED = {"6000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5433"}]}
SOCKET = [{"Source": "/srv/crm/socket", "Destination": "/var/run/postgresql"}]


def one(service: str, running: bool = True, **more) -> dict:
    told = {"id": f"{service}1234567", "name": f"/crm-{service}-1", "service": service}
    bare = {"ports": {}, "networks": {}, "exposed": None, "mounts": []}
    return told | {"running": running} | bare | more


WEB, WORKER = one("web", networks=OTHER, exposed={"8000/tcp": {}}), one("worker")


@pytest.mark.parametrize(
    ("place", "database"),
    [
        (Place("localhost", 5433), {"ports": PUBLISHED}),
        (Place("10.9.9.9", 5432), {"networks": NETWORK}),
        (Place("db.example.com", 5432, container="crm-postgres-1"), {}),
        (Place("db.example.com", 5432, container="postgres123"), {}),
        (Place("db.example.com", 5432, service="postgres"), {}),
        (Place("db.example.com", 5432), {"exposed": {"5432/tcp": {}}}),
        (Place("/srv/crm/socket", 5432), {"mounts": SOCKET}),
        (Place("/srv/crm/socket/deeper", 5432), {"mounts": SOCKET}),
    ],
    ids=["port", "address", "name", "id", "service", "a PostgreSQL", "socket", "below it"],
)
@pytest.mark.parametrize("service", ["db", "no-such-service", ""])
def test_what_holds_the_database_is_never_stopped_whatever_it_is_called(place, database, service):
    place = place if place.service else place._replace(service=service)
    found = compose.choose([one("postgres", **database), WEB, WORKER], place, ["172.18.0.2"])
    assert found["services"] == ["web", "worker"]
    assert found["database_services"] == ["postgres"]
    stops = "A restore stops and starts these services of /srv/crm: web, worker"
    keeps = "never postgres, which holds the database"
    assert compose.lines(found, "/srv/crm") == [f"{stops}; {keeps}"]


def test_a_database_that_is_none_of_the_services_keeps_none_of_them():
    found = compose.choose([WEB, WORKER], Place("db.example.com", 5433, service="db"), ["10.0.0.9"])
    assert (found["services"], found["database_services"]) == (["web", "worker"], [])


def test_only_what_runs_is_stopped_and_all_where_an_earlier_restore_stopped_them():
    stopped, database = one("migrate", running=False), one("db", exposed={"5432/tcp": {}})
    place = Place("localhost", 5432)
    assert compose.choose([WEB, stopped, database], place, [])["services"] == ["web"]
    down = [WEB | {"running": False}, stopped, database]
    assert compose.choose(down, place, [])["services"] == ["migrate", "web"]


def test_a_pooler_before_the_database_stays_with_it():
    pooler = one("bouncer", ports={"6432/tcp": [{"HostPort": "6432"}]})
    found = compose.choose(
        [pooler, one("db", exposed={"5432/tcp": {}}), WEB], Place("127.0.0.1", 6432), ["127.0.0.1"]
    )
    assert (found["services"], found["database_services"]) == (["web"], ["bouncer", "db"])


def test_what_a_restore_would_not_find_is_said(tmp_path):
    compose.see_commands(str(tmp_path), ["sh -c 'systemctl stop crm'"])
    (tmp_path / "stop.sh").write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match=r"no program ./stop\.sh"):
        compose.see_commands(str(tmp_path), ["./stop.sh now"])
    (tmp_path / "stop.sh").chmod(0o755)
    compose.see_commands(str(tmp_path), ["./stop.sh now"])
    with pytest.raises(UsageError, match="no program systemclt"):
        compose.see_commands("", ["systemclt stop crm"])
    with pytest.raises(UsageError, match=r"There is no directory /srv/gone \(backup_app_dir\)"):
        compose.see_commands("/srv/gone", [])


def test_an_application_that_is_not_healthy_says_why():
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *words):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert compose.health(f"{url}/healthz") == ""
        assert "it answers 404" in compose.health(f"{url}/health")
        server.shutdown()
        thread.join()
    assert "Connection refused" in compose.health(f"{url}/healthz")
    assert "unknown url type" in compose.health("localhost/healthz")
