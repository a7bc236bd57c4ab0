"""What the tests stand on: real PostgreSQL servers, a real S3 server, fresh databases, buckets and
configs.

``REQUIRE_ALL=1`` (continuous integration) makes whatever is missing on the machine a failure
instead of a skip.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import ansible.module_utils
import psycopg
import pytest
from psycopg import sql

from demo.postgres_server import PostgresServer, available_majors, find_programs
from demo.s3_server import SeaweedFS
from postgres_backup import settings as package_settings
from postgres_backup.machine import config_file
from tests import parallel, properties
from tests.services import samples
from tests.services.brief import BriefPostgresServer, BriefSeaweedFS
from tests.services.plain_s3 import client_of
from tests.services.secure_s3 import SecureSeaweedFS
from tests.services.signing import KEY_FILE, TRUSTED_LINE

ROOT = Path(__file__).resolve().parent.parent
# Ansible's modules import the package under the name that Ansible ships it by; here that is the
# same folder.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

pytest_plugins = ["tests.ending"]
properties.load()

#: the majors that every_major runs a test on; 16 and 18 come from a wheel, 15 from Debian
MAJORS = (15, 16, 18)
DEFAULT_MAJOR = 16


def missing(reason: str) -> None:
    """Skip the running test, or fail it where everything must be there."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("every_major"):
        metafunc.parametrize(
            "postgres", MAJORS, indirect=True, ids=[f"pg{major}" for major in MAJORS]
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than processors: most tests wait for something most of the time. Unit tests hardly
    do, and each worker has to load them all.
    """
    units = config.args and all(_is_unit(argument) for argument in config.args)
    return len(os.sched_getaffinity(0)) + (1 if units else 2)


def _is_unit(argument: str) -> bool:
    """Whether what was typed, a file or a folder or a test, is below ``tests/unit``."""
    return Path(argument.partition("::")[0]).resolve().is_relative_to(ROOT / "tests/unit")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> parallel.Scheduling | None:
    return parallel.Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    servers = f"{ROOT / 'tests/servers'}/"
    for item in items:
        if str(item.path).startswith(servers):
            item.add_marker(pytest.mark.servers)
    _leave_out_gameday(config, items)
    parallel.arrange(config, items, ROOT / "tests")


def _leave_out_gameday(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes hours is run by its name only (``-m gameday``), whatever else is chosen."""
    if "gameday" in config.option.markexpr or "stores" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("gameday")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """A worker that cannot find what is asked for keeps the reason to itself: hand it on."""
    if not hasattr(session.config, "workerinput"):
        with parallel.kept_for_good():
            return (yield)
    try:
        with parallel.collecting(session.config), parallel.kept_for_good():
            return (yield)
    except pytest.UsageError as error:
        session.config.workeroutput["not_found"] = list(error.args)
        raise


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    if reasons := getattr(node, "workeroutput", {}).get("not_found"):
        raise pytest.UsageError(*reasons)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the wait is no part of the test's time
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with parallel.turn(item.config, alone=bool(item.get_closest_marker(parallel.ALONE))):
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("servers") and os.geteuid() != 0:
        missing("booting servers needs root: sudo make test")


@pytest.fixture(scope="session")
def postgres_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int], PostgresServer]]:
    """``postgres_server(16)``: the running server of a major, the same one all session long."""
    servers: dict[int, PostgresServer] = {}

    def running(major: int = DEFAULT_MAJOR) -> PostgresServer:
        if major not in available_majors():
            missing(
                f"PostgreSQL {major} is not installed (sudo apt-get install postgresql-{major})"
            )
        if major not in servers:
            servers[major] = BriefPostgresServer(
                tmp_path_factory.mktemp(f"pg{major}"),
                major,
            )
            servers[major].start()
        return servers[major]

    yield running
    for server in servers.values():
        server.remove()


@pytest.fixture
def postgres(
    request: pytest.FixtureRequest, postgres_server: Callable[[int], PostgresServer]
) -> PostgresServer:
    """A running server of the default major, or of each with ``@pytest.mark.every_major``."""
    return postgres_server(getattr(request, "param", DEFAULT_MAJOR))


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """The running S3 server, over HTTP."""
    with BriefSeaweedFS(
        tmp_path_factory.mktemp("s3"),
        "test-access-key",
        secrets.token_urlsafe(24),
    ) as server:
        yield server


@pytest.fixture(scope="session")
def s3_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """Another one, over HTTPS with its own CA (``ca_bundle``)."""
    with SecureSeaweedFS(
        tmp_path_factory.mktemp("s3tls"),
        "test-access-key",
        secrets.token_urlsafe(24),
    ) as server:
        yield server


@dataclasses.dataclass(frozen=True)
class Database:
    """A database with an owner of its own, who may make databases and nothing more."""

    server: PostgresServer
    name: str
    owner: str
    password: str
    #: begins the names of the roles that :mod:`demo.sample` made
    role_prefix: str

    def dsn(self, dbname: str = "") -> str:
        """Connection string as its owner."""
        return self.server.dsn(dbname or self.name, self.owner, self.password)

    @property
    def as_superuser(self) -> dict[str, str]:
        """Variables of a config by which the program is the server's superuser, not the owner."""
        return {"DB_USER": self.server.superuser, "DB_PASSWORD": self.server.password}

    def execute(self, query: str | sql.Composable, dbname: str = "") -> list[tuple]:
        """Run a statement as superuser; its rows."""
        return self.server.execute(query, dbname or self.name)


@pytest.fixture
def new_database(postgres: PostgresServer) -> Iterator[Callable[..., Database]]:
    """``new_database(name="", options="")``: a fresh database; afterwards every database and role
    made since is dropped.
    """
    with postgres.connect() as hand:
        databases, roles = _databases(hand), _roles(hand)

    def make(name: str = "", options: str = "", owner: str = "") -> Database:
        tag = secrets.token_hex(4)
        made = Database(
            postgres,
            name or f"crm_{tag}",
            owner or f"owner_{tag}",
            secrets.token_urlsafe(18),
            f"role_{tag}_",
        )
        with postgres.connect() as hand:
            hand.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(
                    sql.Identifier(made.owner), sql.Literal(made.password)
                )
            )
            hand.execute(
                # half the time of the usual way, which writes all of a database to the journal
                sql.SQL("CREATE DATABASE {} OWNER {} STRATEGY file_copy " + options).format(
                    sql.Identifier(made.name), sql.Identifier(made.owner)
                )
            )
        return made

    yield make
    if not postgres.is_running():
        postgres.start()
    with postgres.connect() as hand:
        for name in _databases(hand) - databases:
            hand.execute(
                sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name))
            )
            _drop_subscriptions(postgres, hand, name)
            hand.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        made_roles = _roles(hand) - roles
        for name in made_roles:
            hand.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        for name in made_roles:
            hand.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _drop_subscriptions(server: PostgresServer, hand: psycopg.Connection, database: str) -> None:
    """They would keep the database from being dropped."""
    found = hand.execute(
        sql.SQL(
            "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid"
            " WHERE datname = {}"
        ).format(sql.Literal(database))
    )
    for (name,) in found:
        server.execute(
            sql.SQL(
                "SET session_replication_role TO replica; ALTER SUBSCRIPTION {0} DISABLE;"
                "ALTER SUBSCRIPTION {0} SET (slot_name = NONE); DROP SUBSCRIPTION {0}"
            ).format(sql.Identifier(name)),
            database,
        )


def _databases(hand: PostgresServer | psycopg.Connection) -> set[str]:
    return {name for (name,) in hand.execute("SELECT datname FROM pg_database")}


def _roles(hand: psycopg.Connection) -> set[str]:
    return {name for (name,) in hand.execute("SELECT rolname FROM pg_roles")}


@pytest.fixture
def database(new_database: Callable[..., Database]) -> Database:
    """A fresh, empty database."""
    return new_database()


@pytest.fixture
def sample_database(database: Database) -> Database:
    """A fresh database with a little of everything (``demo/sample.py``), about 1.3 MB of dump."""
    samples.load(database.server.dsn(database.name), scale=0.02, role_prefix=database.role_prefix)
    return database


@pytest.fixture
def s3_client(s3: SeaweedFS):
    """A plain boto3 client of ``s3`` with its administrator's key: how a test looks at a bucket, or
    harms it.
    """
    return client_of(s3)


@pytest.fixture
def new_bucket() -> Iterator[Callable[[SeaweedFS], str]]:
    """``new_bucket(server)``: the name of a fresh, empty bucket; emptied and removed afterwards."""
    made: list[tuple[SeaweedFS, str]] = []

    def make(server: SeaweedFS) -> str:
        name = f"bucket-{secrets.token_hex(6)}"
        client_of(server).create_bucket(Bucket=name)
        made.append((server, name))
        return name

    yield make
    for server, name in made:
        _remove_bucket(client_of(server), name)


def _remove_bucket(client, name: str) -> None:
    """With all that is in it: the servers of tests allow that."""
    with contextlib.suppress(client.exceptions.NoSuchBucket):  # the test itself took it away
        client.delete_bucket(Bucket=name)


@pytest.fixture
def bucket(s3: SeaweedFS, new_bucket: Callable[[SeaweedFS], str]) -> str:
    """The name of a fresh bucket of ``s3``."""
    return new_bucket(s3)


@dataclasses.dataclass
class Config:
    """A config file as the role ``backup`` writes it, and what the package reads from it."""

    path: Path
    values: dict[str, str]

    def change(self, **values: object) -> package_settings.Settings:
        """Write the file anew with some variables changed (None removes one); the new settings."""
        self.write(**values)
        return self.settings

    def write(self, **values: object) -> None:
        """The same, where nobody looks whether the values are right."""
        self.values |= {name: str(value) for name, value in values.items() if value is not None}
        for name in [name for name, value in values.items() if value is None]:
            self.values.pop(name, None)
        lines = [
            f"{'export ' if name.startswith('AWS_') else ''}{name}={shlex.quote(value)}\n"
            for name, value in self.values.items()
        ]
        self.path.touch(mode=0o600)
        self.path.write_text("".join(lines))

    @property
    def settings(self) -> package_settings.Settings:
        return config_file.load(str(self.path))


@pytest.fixture
def new_config(tmp_path: Path) -> Callable[..., Config]:
    """``new_config(database, s3_server, bucket, **variables)``: a config file of its own.

    All servers sign with the one key that all believe; a test about another removes it.
    """

    def make(database: Database, server: SeaweedFS, bucket: str, **variables: object) -> Config:
        folder = tmp_path / f"config-{secrets.token_hex(3)}"
        folder.mkdir()
        values = {
            "SERVER_NAME": "test-server",
            "DB_HOST": database.server.host,
            "DB_PORT": str(database.server.port),
            "DB_NAME": database.name,
            "DB_USER": database.owner,
            "DB_PASSWORD": database.password,
            "PG_BIN_DIR": str(find_programs(database.server.major)),
            "S3_BUCKET_NAME": bucket,
            "S3_ENDPOINT_URL": server.endpoint_url,
            "S3_REGION": "us-east-1",
            "S3_PREFIX": "postgres-backup",
            "S3_CA_BUNDLE": server.ca_bundle,
            # what tests forge holds no dump; what reads it again is tried by itself
            "VERIFY_PER_NIGHT": "0",
            "STATE_DIR": str(folder / "state"),
            # tests restore a few rows over many; what guards against that has its own
            "RESTORE_MIN_PERCENT": "0",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        (folder / "trusted_signers").write_text(TRUSTED_LINE)
        (folder / "signing.key").touch(mode=0o600)
        (folder / "signing.key").write_bytes(KEY_FILE)
        config = Config(folder / "backup-config.env", values)
        config.change(**variables)
        return config

    return make


@pytest.fixture
def config(
    new_config: Callable[..., Config], database: Database, s3: SeaweedFS, bucket: str
) -> Config:
    """The config of ``database`` and ``bucket``; ``config.settings``, ``config.path``,
    ``config.change(RETENTION_DAYS=3)``.
    """
    return new_config(database, s3, bucket)
