"""What of an application a rebuilt server needs, from what Docker tells, the disk, and a real git.

What Docker tells of a project is as Docker Compose 2.26 tells it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess

import pytest

from postgres_backup.postgresql import app_files

VOLUMES = "/var/lib/docker/volumes"


@pytest.fixture
def app(tmp_path):
    """The folder of an application, with what ``docker compose config`` says of it."""
    for name in (
        "compose.yml .env web.env token.txt conf/app.ini certs/key.pem web/Dockerfile web/cache/x "
        "state/uploads/a.jpg pgdata/PG_VERSION pg/18/docker/PG_VERSION empty/of/.keep notes.txt"
    ).split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    (tmp_path / "empty/of/.keep").unlink()
    return tmp_path


def project(app) -> dict:
    def bind(name: str) -> dict:
        return {"type": "bind", "source": name if name[0] in "/$" else f"{app}/{name}"}

    return {
        "services": {
            "db": {"image": "postgres:17", "volumes": [bind("pgdata"), bind("pg")]},
            "web": {
                "build": {"context": f"{app}/web", "dockerfile": "Dockerfile"},
                "env_file": [{"path": f"{app}/web.env"}, {"path": f"{app}/more.env"}],
                "volumes": [
                    *map(bind, ("state", "certs", "empty", "gone", "${UPLOADS}")),
                    *map(bind, ("/var/run/docker.sock", "/etc/localtime", "/", "/var", "/proc")),
                    {"type": "volume", "source": "uploads"},
                ],
            },
            "old": {"env_file": "web.env", "build": "https://git.example.com/old.git"},
        },
        "secrets": {"token": {"file": f"{app}/token.txt"}, "other": {"external": True}},
        "configs": {"cfg": {"file": f"{app}/conf/app.ini"}, "text": {"content": "x"}},
    }


@pytest.fixture
def told(app, monkeypatch):
    """``told(repository)``: what is needed of the folder, its names alone where they lie in it."""
    monkeypatch.setattr(app_files, "docker", lambda *words: json.dumps(project(app)))

    def needs(repository: bool = False, composed: bool = True, there=()) -> list[str]:
        found = app_files.needs(str(app), composed, there, repository)
        return [path.removeprefix(f"{app}/") for path in found]

    return needs


ALL = ["compose.yml", ".env", "web.env", "web", "state", "certs", "token.txt", "conf/app.ini"]


def test_what_compose_reads_and_its_services_keep_but_not_what_the_backup_has(told):
    assert told() == ALL


def test_of_another_kind_of_application_what_is_called_so(told):
    assert told(composed=False) == ["compose.yml", ".env"]


def test_what_the_containers_were_made_from_and_what_they_keep(told, app, tmp_path):
    other = tmp_path.parent / f"{tmp_path.name}-other"
    (other / "uploads").mkdir(parents=True)
    (other / "uploads/a.jpg").touch()
    (other / "crm.yml").touch()
    mounts = [
        {"Type": "bind", "Source": f"{other}/uploads"},
        {"Type": "bind", "Source": f"{app}/pgdata"},
        {"Type": "volume", "Name": "f" * 64, "Source": f"{other}"},
        {"Type": "tmpfs", "Source": ""},
    ]
    there = [{"files": f"{app}/compose.yml,{other}/crm.yml", "env_files": ".env", "mounts": mounts}]
    more = [path for path in told(there=there) if path.startswith("/")]
    assert more == [f"{other}/crm.yml", f"{other}/uploads"]
    # a volume of a name lies in Docker's folder, and nothing else of that folder is an application
    found = app_files.of_the_containers(
        [{"mounts": [{"Type": "volume", "Name": "crm_up", "Source": f"{VOLUMES}/crm_up/_data"}]}],
        "/srv/crm",
    )
    assert found == [app_files.Need(f"{VOLUMES}/crm_up/_data", True)]


def test_a_folder_of_sockets_is_nothing_to_save(app, told, monkeypatch):
    (app / "state/uploads/a.jpg").unlink()
    monkeypatch.chdir(app)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as there:
        there.bind("state/s")
        assert "state" not in told()


def _git(app, *words: str) -> None:
    names = [w for key in ("user.name", "user.email") for w in ("-c", f"{key}=crm@example.com")]
    subprocess.run(["git", "-C", app, *names, *words], check=True, capture_output=True)


def test_what_the_repository_brings_is_not_needed_and_what_it_would_not_is_named(told, app):
    (app / ".gitignore").write_text(".env\nuploads/\ncache/\n")
    _git(app, "init")
    _git(app, "add", ".")
    _git(app, "commit", "-m", "All of it")
    assert told(repository=True) == [".env", "state"]  # git has nothing of it
    (app / "state/.gitkeep").touch()
    _git(app, "add", ".")
    _git(app, "commit", "-m", "The folder alone")
    assert told(repository=True) == [".env", "state/uploads"]
    # what was changed here alone is another than the repository's
    (app / "compose.yml").write_text("services: {}\n")
    (app / "certs/new.pem").touch()
    assert told(repository=True) == ["compose.yml", ".env", "state/uploads", "certs/new.pem"]
    # a name with a blank and letters is told as it is
    (app / "certs/new.pem").rename(app / "certs/ä b.pem")
    assert "certs/ä b.pem" in told(repository=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks as somebody else")
def test_what_the_repository_of_somebody_else_runs_does_not_run_as_root(told, app):
    """``core.fsmonitor`` names a program that git starts."""
    _git(app, "init")
    _git(app, "add", ".")
    _git(app, "commit", "-m", "All of it")
    proof = app / "who"
    hook = app / "hook"
    hook.write_text(f"#!/bin/sh\nid -u > {proof}\n")
    hook.chmod(0o755)
    _git(app, "config", "core.fsmonitor", str(hook))
    for above in (app, *app.parents):
        if above.stat().st_uid == 0 and above != above.parent and not above.stat().st_mode & 1:
            above.chmod(above.stat().st_mode | 0o011)
    subprocess.run(["chown", "-R", "65534:65534", app], check=True)
    told(repository=True)
    assert proof.read_text() == "65534\n"
