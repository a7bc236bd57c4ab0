"""Around a restore: what holds the database stays up, whatever it is called; setup tries it all.

A program that answers as Docker does stands in for it, and notes what it is told. With a real one:
``tests/servers/test_recovery.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.library.test_postgres_backup_app_info import CONTAINERS, DOCKER, PROJECT
from tests.services import ansible_runs

ROOT = Path(__file__).resolve().parents[2]
NOTED = """echo "$*" >> {log}
case "$*" in "compose stop"* | "compose start"*) exit 0 ;; esac
"""


@pytest.fixture
def app(tmp_path):
    """``app("check", "stop", app_db_service="db")``: entry points of the role one after the other;
    what was printed, and what Docker was told.
    """
    log, program = tmp_path / "docker.log", tmp_path / "bin/docker"
    program.parent.mkdir()
    text = DOCKER % ("\n".join(map(json.dumps, CONTAINERS)), json.dumps(PROJECT))
    program.write_text(text.replace("#!/bin/sh\n", "#!/bin/sh\n" + NOTED.format(log=log)))
    program.chmod(0o755)
    directory = tmp_path / "srv"
    directory.mkdir()
    (directory / "compose.yml").touch()

    def run(*entries: str, status: int = 0, **variables: object) -> tuple[str, list[str]]:
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "app_python": sys.executable,
            "backup_become": False,
            "backup_app_dir": str(directory),
        }
        tasks = [
            {"ansible.builtin.import_role": {"name": "app", "tasks_from": entry}}
            for entry in entries
        ]
        roles = [{"import_role": {"name": "backup", "tasks_from": "which_server"}}]
        tasks += [{"debug": {"msg": "A rebuild needs {{ app_needs | default('?') }}"}}]
        play = {"hosts": "all", "gather_facts": False, "tasks": roles + tasks}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        words = [ansible_runs.PLAYBOOK, "-i", "db1,"]
        words += ["-e", json.dumps(given | variables), tmp_path / "play.yml"]
        path = f"{program.parent}:/usr/bin:/bin"
        environment = ansible_runs.environment(ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), PATH=path)
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=280
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, log.read_text().splitlines() if log.exists() else []

    return run


def test_with_a_wrong_name_for_its_service_the_database_is_not_stopped(app):
    _, told = app("check", "stop", "start", app_db_service="db")
    assert told[-2:] == ["compose stop web", "compose start web"]


def test_setup_says_what_a_restore_would_stop_and_whose_health_does_not_answer(app):
    said, told = app("main", app_db_service="db", backup_app_health_url="http://127.0.0.1:1/")
    assert "web; never pg, which holds the database" in " ".join(said.split())
    assert "WARNING: http://127.0.0.1:1/ (backup_app_health_url)" in said
    assert not any("stop" in words for words in told)
    assert "A rebuild needs ['" in said
    assert said.split("A rebuild needs ")[1].splitlines()[0].endswith("srv/compose.yml']")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"backup_app_dir": "/srv/gone"}, "There is no directory /srv/gone (backup_app_dir)"),
        ({"backup_db_container": "crm-db-1"}, "docker ps shows the names: set backup_db_container"),
        (
            {"backup_app_stop": "systemclt stop crm", "backup_app_start": "true"},
            "There is no program systemclt",
        ),
    ],
)
def test_setup_fails_where_a_restore_would_find_nothing(app, variables, said):
    printed, told = app("main", status=2, **variables)
    assert said in " ".join(printed.split())
    assert not any("stop" in words for words in told)
