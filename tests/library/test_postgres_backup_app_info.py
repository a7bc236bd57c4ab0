"""The module over a program that answers as Docker does: what is asked, and what an error says.

With a real Docker: ``tests/servers/test_recovery.py``.
"""

from __future__ import annotations

import json
import os

import pytest

ANSWER = {"running": True, "ports": {}, "networks": {}, "exposed": None, "mounts": []}
PROJECT = {"services": {"web": {"env_file": ["/nobody/has/it"]}}}
CONTAINERS = [
    ANSWER | {"id": "1", "name": "/crm-pg-1", "service": "pg", "exposed": {"5432/tcp": {}}},
    ANSWER | {"id": "2", "name": "/crm-web-1", "service": "web"},
]
DOCKER = """#!/bin/sh
case "$*" in
  "compose ps --all --quiet") printf '1\\n2\\n' ;;
  "container inspect --format {{.State.Running}} -- crm-pg-1") echo true ;;
  "container inspect --format {{.State.Running}} -- old") echo false ;;
  "container inspect"*" 1 2") cat <<'EOF'
%s
EOF
  ;;
  "compose config --no-interpolate --format json") echo '%s' ;;
  *) echo "Error: No such container: $6" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A ``docker`` that knows one project of two services."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER % ("\n".join(map(json.dumps, CONTAINERS)), json.dumps(PROJECT)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("docker")
def test_the_database_is_found_although_its_service_is_called_otherwise(run_module, tmp_path):
    asked = {"directory": str(tmp_path), "composed": True, "database_service": "db"}
    answer = run_module("postgres_backup_app_info", **asked)
    assert (answer["services"], answer["database_services"]) == (["web"], ["pg"])
    assert not answer["changed"]
    assert answer["lines"][0].endswith(": web; never pg, which holds the database")


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"database_container": "crm-db-1"}, "docker ps shows the names: set backup_db_container"),
        ({"database_container": "old"}, "The container old (backup_db_container) does not run"),
        ({"directory": "/srv/gone"}, "There is no directory /srv/gone (backup_app_dir)"),
        ({"commands": ["systemclt stop crm"]}, "There is no program systemclt"),
    ],
)
def test_what_a_restore_would_not_find_fails_here(run_module, asked, said):
    answer = run_module("postgres_backup_app_info", **asked)
    assert answer["failed"]
    assert said in answer["msg"]
    assert answer["exit_status"] == 2


@pytest.mark.usefixtures("docker")
def test_a_container_that_runs_is_enough(run_module):
    answer = run_module("postgres_backup_app_info", database_container="crm-pg-1")
    assert (answer["services"], answer["lines"]) == ([], [])


@pytest.mark.usefixtures("docker")
def test_what_a_rebuild_needs_of_it_is_found_where_that_is_asked(run_module, tmp_path):
    (tmp_path / "compose.yml").touch()
    (tmp_path / ".env").touch()
    asked = {"directory": str(tmp_path), "composed": True}
    assert run_module("postgres_backup_app_info", **asked)["needs"] == []
    answer = run_module("postgres_backup_app_info", **asked, needs=True)
    assert answer["needs"] == [f"{tmp_path}/compose.yml", f"{tmp_path}/.env"]
    assert len(answer["lines"]) == 1
    # one that git does not know of is no clone: that is said, and is no failure
    answer = run_module("postgres_backup_app_info", **asked, needs=True, repository=True)
    assert (answer["needs"], answer["services"]) == ([], ["pg", "web"][1:])
    assert answer["lines"][1].startswith(
        f"WARNING: what a rebuild needs of {tmp_path} is not known"
    )
    assert "not a git repository" in answer["lines"][1]
