"""The numbers on a whole server: from the nightly run through Debian's own node_exporter to whoever
asks it over HTTP.
"""

from __future__ import annotations

import secrets
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import layers
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(900)

FILE = "/var/lib/prometheus/node-exporter/postgres-backup.prom"


def served(server) -> dict[str, list[tuple[dict, float]]]:
    """What node_exporter tells of our backups."""
    with urllib.request.urlopen(f"http://{server.address}:9100/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        name: [(s.labels, s.value) for s in samples if s.name == name]
        for name in {s.name for s in samples}
    }


def test_node_exporter_serves_what_a_night_wrote(new_server, controller, lab_s3):
    server = new_server("trixie", layer="ready", forks=False)
    password = secrets.token_urlsafe(18)
    server.sql(f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{password}'")
    server.sql("CREATE DATABASE crm OWNER crm")
    server.sql("SET ROLE crm; CREATE TABLE t AS SELECT generate_series(1, 100) AS x", "crm")
    controller.add(
        server,
        backup_db_name="crm",
        backup_db_user="crm",
        backup_db_password=password,
        backup_s3_endpoint_url=lab_s3.endpoint_url,
        backup_s3_bucket=f"backups-{secrets.token_hex(4)}",
        backup_s3_access_key=lab_s3.access_key,
        backup_s3_secret_key=lab_s3.secret_key,
    )
    controller.variables()
    controller.run("setup.yml")
    relative = controller.run(
        "setup.yml", "-e", "backup_metrics_file=postgres-backup.txt", check=False
    )
    assert relative.status != 0
    assert "ends in .prom" in relative.output
    controller.variables(backup_metrics_file=FILE)
    refused = controller.run("setup.yml", check=False)
    assert refused.status != 0
    assert "apt install prometheus-node-exporter" in " ".join(refused.output.split())
    assert "Traceback" not in refused.output

    layers._install(server, "prometheus-node-exporter", "curl")
    checked = controller.run("setup.yml", "--check")
    assert (
        f"changed: [{server.name}]"
        in checked.output.split("Let the backup user write there")[1].split("TASK")[0]
    )
    assert checked.recap[server.name]["changed"] == 1, checked.output
    assert "postgres-backup" not in server.inside("getfacl", "-p", FILE.rpartition("/")[0]).stdout
    controller.run("setup.yml")
    again = controller.run("setup.yml")
    assert again.recap[server.name]["changed"] == 0, again.output
    assert (
        "user:postgres-backup:rwx" in server.inside("getfacl", "-p", FILE.rpartition("/")[0]).stdout
    )

    server.inside(
        "runuser",
        "-u",
        "postgres-backup",
        "--",
        "env",
        "-i",
        "sh",
        "-c",
        "umask 077; /usr/local/bin/postgres-backup run",
        timeout=120,
    )
    # as docs/monitoring.md shows it
    told = "curl -s http://localhost:9100/metrics | grep ^postgres_backup_"
    assert "postgres_backup_last_rows{" in wait_for(
        "node_exporter", lambda: server.inside("sh", "-c", told, check=False).stdout, timeout=30
    )
    found = wait_for("node_exporter", lambda: served(server), timeout=30)
    labels = {"server": server.name, "database": "crm"}
    assert found["postgres_backup_last_rows"] == [(labels, 100)]
    assert found["postgres_backup_last_run_success"] == [({"server": server.name}, 1)]
    assert found["postgres_backup_kept_backups"] == [(labels, 2)]
    assert found["node_textfile_scrape_error"] == [({}, 0)]
    assert server.inside("stat", "-c", "%a %U", FILE).stdout.split() == ["644", "postgres-backup"]
