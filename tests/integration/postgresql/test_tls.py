"""The way to a server that speaks TLS, with a certificate of an authority of its own; and a way
that anybody can listen to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from demo.postgres_server import UNPRIVILEGED, available_majors
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.health import status
from postgres_backup.job import Job
from postgres_backup.postgresql import programs, server
from postgres_backup.postgresql.connection import connect, connect_maintenance, value
from postgres_backup.restore.database import restore_database
from tests.conftest import Database, missing
from tests.services.brief import BriefPostgresServer
from tests.services.secure_s3 import make_certificate

#: the wheel's servers are built without TLS
MAJOR = 15


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server that nobody reaches unencrypted; the user ``certified`` needs a certificate too."""
    if MAJOR not in available_majors():
        missing(f"PostgreSQL {MAJOR} is not installed")
    folder = tmp_path_factory.mktemp("secure")
    make_certificate(folder / "tls")
    if os.geteuid() == 0:  # it reads its key as the user that it runs as
        for path in (folder, folder / "tls", *(folder / "tls").iterdir()):
            shutil.chown(path, UNPRIVILEGED)
    files = {"ssl_cert_file": "cert.pem", "ssl_key_file": "key.pem", "ssl_ca_file": "ca.pem"}
    made = BriefPostgresServer(
        folder / "server",
        MAJOR,
        settings={"ssl": "on"} | {name: str(folder / "tls" / at) for name, at in files.items()},
    )
    made.start()
    made.execute(f"CREATE ROLE certified LOGIN PASSWORD '{made.password}'")
    made.execute("CREATE DATABASE crm")
    made.execute("CREATE TABLE t AS SELECT 1 AS i", "crm")
    (made.data / "pg_hba.conf").write_text(
        "hostssl all certified 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
        "hostssl all all 127.0.0.1/32 scram-sha-256\n"
    )
    made.execute("SELECT pg_reload_conf()")
    yield made
    made.remove()


@pytest.fixture
def tls(secure):
    """The folder with its certificates."""
    return secure.directory.parent / "tls"


@pytest.fixture
def config(new_config, secure, s3, bucket, tls):
    made = Database(secure, "crm", secure.superuser, secure.password, "")
    return new_config(
        made,
        s3,
        bucket,
        DB_SSLMODE="verify-full",
        DB_SSLROOTCERT=tls / "ca.pem",
        DB_HOST="localhost",
    )


def test_every_connection_and_program_is_encrypted_and_sure_of_the_server(config, secure):
    """The server lets nobody in otherwise."""
    settings = config.settings
    with connect(settings, "crm") as connection:
        assert connection.pgconn.ssl_in_use
    taken = create_backup(Job(settings))
    secure.execute("DELETE FROM t", "crm")
    assert restore_database(Job(settings), "latest")["rows"] == taken["rows"] == 1
    assert secure.execute("SELECT i FROM t", "crm") == [(1,)]
    environment = programs.find(settings, MAJOR).environment()
    assert environment["PGSSLMODE"] == "verify-full"
    assert environment["PGSSLROOTCERT"] == settings.db_sslrootcert


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"DB_SSLROOTCERT": "{other}/ca.pem"}, "none of the authorities", "backup_db_sslrootcert"),
        ({"DB_SSLROOTCERT": None}, "none of the authorities in /etc/ssl", "backup_db_sslrootcert"),
        ({"DB_SSLROOTCERT": "/no/ca.pem"}, "cannot be read", "backup_db_sslrootcert"),
        ({"DB_SSLMODE": "disable"}, "no encryption", "verify-full"),
        ({"DB_USER": "certified"}, "asks for a certificate of ours", "backup_db_sslkey"),
        (
            {"DB_USER": "certified", "DB_SSLCERT": "/no/cert.pem", "DB_SSLKEY": "{tls}/key.pem"},
            "asks for a certificate of ours",
            "files that backup_user may read",
        ),
        (
            {
                "DB_USER": "certified",
                "DB_SSLCERT": "{other}/cert.pem",
                "DB_SSLKEY": "{other}/open.pem",
            },
            "open.pem cannot be used",
            "0600",
        ),
        (
            {
                "DB_USER": "certified",
                "DB_SSLCERT": "{other}/cert.pem",
                "DB_SSLKEY": "{other}/key.pem",
            },
            "does not know the authority",
            "ssl_ca_file",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(config, tls, tmp_path, changes, message, hint):
    other = tmp_path / "other"
    make_certificate(other)
    shutil.copyfile(other / "key.pem", other / "open.pem")
    (other / "open.pem").chmod(0o644)
    for name, text in changes.items():
        changes[name] = text and text.format(other=other, tls=tls)
    settings = config.change(**changes)
    for way in (connect, connect_maintenance):
        with pytest.raises(DatabaseError, match=message) as caught, way(settings, "crm"):
            pass
        assert hint in caught.value.hint
        assert "\n" not in caught.value.message


def test_a_server_may_ask_for_our_certificate_too(config, tls, tmp_path):
    shutil.copyfile(tls / "key.pem", tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    settings = config.change(
        DB_USER="certified", DB_SSLCERT=tls / "cert.pem", DB_SSLKEY=tmp_path / "key.pem"
    )
    with connect(settings, "crm") as connection:
        asked = "SELECT client_dn IS NOT NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert value(connection, bool, asked)
    with programs.find(settings, MAJOR).start("psql", "crm", "-XAtc", "SELECT 1") as process:
        process.check()


def test_a_server_without_tls_is_named(database, new_config, s3, bucket):
    settings = new_config(database, s3, bucket, DB_SSLMODE="require").settings
    with (
        pytest.raises(DatabaseError, match="does not encrypt") as caught,
        connect(settings, database.name),
    ):
        pass
    assert "ssl" in caught.value.hint


def test_what_the_settings_may_say(config):
    for changes in ({"DB_SSLMODE": "full"}, {"DB_SSLMODE": None, "DB_SSLKEY": "key.pem"}):
        with pytest.raises(UsageError, match="DB_SSL"):
            config.change(**changes)
    settings = config.change(DB_SSLKEY=None, DB_SSLROOTCERT=None, DB_CONTAINER="crm-db-1")
    inside = programs.Programs(settings, "", "15.1")
    assert settings.db_sslmode == "prefer"
    assert "-ePGSSLMODE" in "".join(inside.argv("pg_dump", "crm"))
    settings = config.change(DB_SSLMODE="verify-full", DB_SSLKEY="/etc/key.pem")
    inside = programs.Programs(settings, "", "15.1").environment()
    assert {name: text for name, text in inside.items() if "SSL" in name} == {"PGSSLMODE": "prefer"}


@contextlib.contextmanager
def elsewhere(port: int):
    """The address of another machine (a network namespace) that passes everything on to a port of
    this one.
    """
    if os.geteuid() != 0:
        missing("making a network needs root")
    name = f"pb{os.getpid() % 100_000}"
    net = f"10.213.{os.getpid() % 250}"
    setup = f"""
        ip netns add {name}
        ip link add {name}a type veth peer name {name}b netns {name}
        ip addr add {net}.1/24 dev {name}a
        ip link set {name}a up
        ip netns exec {name} ip addr add {net}.2/24 dev {name}b
        ip netns exec {name} ip link set {name}b up"""
    processes = []
    try:
        for line in setup.strip().splitlines():
            subprocess.run(line.split(), check=True)
        here = [sys.executable, "-c", _PASS_ON, f"{net}.1", "0.0.0.0", "127.0.0.1", str(port)]
        there = ["ip", "netns", "exec", name, sys.executable, "-c", _PASS_ON]
        there += [f"{net}.2", "0.0.0.0", f"{net}.1", str(port)]
        for argv in (here, there):
            dying = ["setpriv", "--pdeathsig=KILL", *argv]
            processes.append(subprocess.Popen(dying, stdout=subprocess.PIPE))
        for process in processes:
            assert process.stdout.readline() == b"listening\n"
        yield f"{net}.2"
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        subprocess.run(["ip", "netns", "del", name], check=True)


_PASS_ON = textwrap.dedent("""
    import socket, sys, threading
    at, _, host, port = sys.argv[1:]
    def pipe(a, b):
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    listener = socket.create_server((at, int(port)))
    print("listening", flush=True)
    while True:
        client, _ = listener.accept()
        way = socket.create_connection((host, int(port)))
        for pair in ((client, way), (way, client)):
            threading.Thread(target=pipe, args=pair, daemon=True).start()
""")


def test_a_way_that_anybody_can_listen_to_is_told_of(
    config, secure, database, new_config, s3, bucket
):
    with elsewhere(database.server.port) as address:
        settings = new_config(database, s3, bucket, DB_HOST=address).settings
        told = server.ask_server(settings)
        assert [found["code"] for found in told["findings"]] == ["DATABASE_IN_THE_CLEAR"]
        assert address in server.lines(told)[1]
        looked = status.status(settings)
        assert "DATABASE_IN_THE_CLEAR" in [found["code"] for found in looked["findings"]]
        assert "DATABASE_IN_THE_CLEAR" in "\n".join(status.lines(looked))
        boxed = new_config(database, s3, bucket, DB_HOST=address, DB_CONTAINER="crm-db-1").settings
        assert server.in_the_clear(boxed) == []
    assert server.ask_server(new_config(database, s3, bucket).settings)["findings"] == []
    with elsewhere(secure.port) as address:
        encrypted = config.change(DB_HOST=address, DB_SSLMODE="verify-ca")
        assert server.in_the_clear(encrypted) == []
        sure = config.change(DB_SSLMODE="verify-full")
        with pytest.raises(DatabaseError, match=f"not for the name {address}") as caught:
            server.ask_server(sure)
        assert "backup_db_host" in caught.value.hint


@pytest.mark.parametrize(
    ("peer", "own", "far"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.5", "127.0.0.1", False),
        ("::1", "::1", False),
        ("::ffff:127.0.0.1", "::1", False),
        ("192.0.2.7", "192.0.2.7", False),
        ("192.0.2.8", "192.0.2.7", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("2001:db8::1", "2001:db8::2", True),
    ],
)
def test_what_is_far(peer, own, far):
    assert server.is_far(peer, own) is far
