"""docs/troubleshooting.md mends what it says that it mends: an error is provoked for real, what the
page has under *mend* is typed as it stands there, and the command then goes well.

The mend is read out of the page. A piece of it in backticks is typed: a command of the program, an
option (typed with the same command again), a statement of SQL (as superuser), a shell's command; or
set, where it is the name of a setting, to the value that stands there, else to the right one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from pyrage import x25519

from docs import make_tables
from postgres_backup.clock import utc_now
from postgres_backup.machine import lock
from tests import documents, sentences
from tests.conftest import Config, Database
from tests.integration import engine
from tests.services.receivers import HttpReceiver
from tests.services.typist import Typist

DOCUMENT = "docs/troubleshooting.md"
#: what parts two ways to mend something
_OR = re.compile(r"[;,]? or (?=`)|; or,? |; else ")
_SQL = re.compile(r"(ALTER|GRANT|CREATE|ROLLBACK) .*;")
_SHELL = ("chmod", "chown", "mv", "sed")
TABLES = """
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 50) n;
INSERT INTO orders SELECT n, n FROM generate_series(1, 50) n;
"""


@dataclasses.dataclass
class World:
    """A database of two tables, an empty bucket, and somebody who types.

    :ivar again: the command that is typed; how it is typed again, after the mend.
    :ivar stands: what stands on the page for something that differs from reader to reader.
    :ivar right: variables of the config, as they should be.
    :ivar passing: what ends while one waits.
    """

    config: Config
    database: Database
    client: object
    bucket: str
    fixture: Callable[[str], object]
    folder: Path
    typist: Typist
    exits: contextlib.ExitStack
    again: list[str] = dataclasses.field(default_factory=list)
    stands: dict[str, str] = dataclasses.field(default_factory=dict)
    right: dict[str, object] = dataclasses.field(default_factory=dict)
    passing: list[Callable[[], object]] = dataclasses.field(default_factory=list)

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        config = () if "--config" in words else ("--config", str(self.config.path))
        return self.typist.type(*config, *words)

    def done(self, *words: str) -> str:
        """What a command printed that goes well."""
        done = self.type(*words)
        assert done.returncode == 0, (words, done.stdout)
        return done.stdout

    def sql(self, statement: str, database: str = "") -> None:
        self.database.server.execute(statement, database or "postgres")

    def inside(self, statement: str) -> None:
        """In the database, as superuser."""
        self.database.execute(statement)

    def set(self, **variables: object) -> None:
        """A wrong line in the config; what stood there is right."""
        self.right = {name: self.config.values.get(name) for name in variables} | self.right
        self.config.write(**variables)

    def backup(self, *words: str) -> str:
        """The name of a backup taken now."""
        said = self.done("backup", "--json", *words)
        return re.search(r'"backup": "([^"]+)"', said)[1]

    def mend(self, pieces: list[str]) -> None:
        """Do what the page says."""
        for end in self.passing:
            end()
        for piece in pieces:
            for word, value in self.stands.items():
                piece = re.sub(rf"\b{word}\b", lambda _, value=value: value, piece)
            self._do(piece)

    def _do(self, piece: str) -> None:
        setting = re.fullmatch(r"(backup_\w+)(?:: (.+))?", piece)
        words = [] if setting or _SQL.fullmatch(piece) else shlex.split(piece)
        if setting and setting[1] in make_tables.config_names():
            self._set(setting[1], setting[2] or "...")
        elif _SQL.fullmatch(piece):
            self.sql(piece)
        elif piece.startswith("---"):  # without it
            self.again.remove(words[0][1:])
        elif piece.startswith("--"):
            if words[0] in self.again:  # an option that was typed wrongly
                place = self.again.index(words[0])
                del self.again[place : place + 2]
            self.again += words
        elif words[0] == "postgres-backup":
            if words[1] == self.again[0]:
                self.again = words[1:]
            else:
                self.done(*words[1:])
        elif words[0] in _SHELL:
            subprocess.run(words, check=True)

    def _set(self, variable: str, shown: str) -> None:
        for name in make_tables.config_names()[variable]:
            if "..." in shown or (name in self.right and name not in self.config.values):
                value = self.right.get(name)
            else:
                value = shown.strip('"')
            if name in self.right or value is not None:
                self.config.write(**{name: value})


@pytest.fixture(scope="session")
def typist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    with Typist(tmp_path_factory.mktemp("typist")) as one:
        yield one


@pytest.fixture
def world(
    config: Config,
    database: Database,
    s3_client: object,
    bucket: str,
    tmp_path: Path,
    typist: Typist,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        connection.execute(TABLES)
    with contextlib.ExitStack() as exits:
        yield World(
            config,
            database,
            s3_client,
            bucket,
            request.getfixturevalue,
            tmp_path,
            typist,
            exits,
            stands={"USER": database.owner, "NAME": database.name, "BUCKET": bucket},
        )


def row_of(pattern: str) -> dict[str, str]:
    """The row of the page that has a pattern."""
    for cells in documents.table_rows(documents.text_of(DOCUMENT)):
        if len(cells) == 4 and f"`{pattern}`" in cells[0]:
            return dict(zip(("it says", "cause", "check", "mend"), cells, strict=True))
    raise LookupError(f"{DOCUMENT} has no row of {pattern!r}")


def pieces_of(mend: str, way: int) -> list[str]:
    """What is to be typed, by the first way to mend it or another; ``-`` before what is not."""
    found = re.findall(r"(Without )?`([^`]+)`", _OR.split(mend)[way])
    return [f"-{piece}" if without else piece for without, piece in found]


@dataclasses.dataclass(frozen=True)
class Trouble:
    """An error that can happen.

    :ivar says: its sentence, as the page has it.
    :ivar provoke: brings it about.
    :ivar words: of the command that then fails.
    :ivar way: which of the page's ways to mend it is gone.
    :ivar dear: ``make gameday`` tries it; what it shows another shows too, in less time.
    """

    says: str
    provoke: Callable[[World], object]
    words: tuple[str, ...]
    way: int = 0
    dear: bool = False


LIST, BACKUP, AHEAD = ("list",), ("backup",), ("restore", "latest", "--check")
TROUBLES: dict[str, Trouble] = {}


def trouble(
    says: str, *words: str, way: int = 0, dear: bool = False
) -> Callable[[Callable], Callable]:
    """The function below provokes this error."""

    def add(provoke: Callable[[World], object]) -> Callable[[World], object]:
        name = provoke.__name__
        assert name not in TROUBLES
        TROUBLES[name] = Trouble(says, provoke, words, way, dear)
        return provoke

    return add


def wrong_setting(says: str, *words: str, way: int = 0, **variables: object) -> None:
    """A wrong line of the config provokes it."""
    name = f"{'_'.join(variables)}={'_'.join(map(str, variables.values()))[:20]}"
    assert name not in TROUBLES
    TROUBLES[name] = Trouble(says, lambda world: world.set(**variables), words or LIST, way)


wrong_setting("The S3 endpoint ... is not an address", S3_ENDPOINT_URL="object.pscloud.io")
wrong_setting("The S3 region ... is not the name of one", S3_REGION="123")
wrong_setting("The bucket name ... is not one that S3 allows", S3_BUCKET_NAME="s3://mine")
wrong_setting("The prefix ... is too long", S3_PREFIX="x" * 801)
wrong_setting("The host ... is neither a name or an address", DB_HOST="a b")
wrong_setting("The port ... is not between 1 and 65535", DB_PORT=0)
wrong_setting("The schedule ... is not a time of day", SCHEDULE_TIME="7:00")
wrong_setting("The quiet hours ... are not from a time of day to another", QUIET_HOURS="8-18")
wrong_setting("... hours: every backup would be too old, or none ever", FRESH_HOURS=0)
wrong_setting("A retention of ... days would keep nothing, or all", "prune", RETENTION_DAYS=0)
wrong_setting("A drop by ... percent cannot be", SIZE_DROP_PERCENT=100)
wrong_setting("A growth by ... percent cannot be", SIZE_JUMP_PERCENT=-1)
wrong_setting("A restore cannot ask for ... percent of the rows", RESTORE_MIN_PERCENT=200)
wrong_setting("... hours of trying again would meet the next night", RETRY_HOURS=24)
wrong_setting("Events cannot be kept for ... days", "prune", JOURNAL_DAYS=-1)
wrong_setting("Drills cannot load ... megabytes a second", DRILL_MB_PER_SECOND=-1)
wrong_setting("A restore cannot be allowed ... minutes", DRILL_RTO_MINUTES=-1)
wrong_setting("A restore cannot work in ... sessions", RESTORE_JOBS=9)
wrong_setting("A drill every ... days cannot be", DRILL_MAX_DAYS=-1)
wrong_setting("... backups cannot be read again each night", VERIFY_PER_NIGHT=1000)
wrong_setting("... GB a month cannot be read", VERIFY_GB_PER_MONTH=-1)
wrong_setting("... is no price", PRICE_GB_MONTH=-1)
wrong_setting("Whom to call, ..., is too long", CONTACT="x" * 501)
wrong_setting("... parts: S3 allows 1 to ...", S3_MAX_PARTS=0)
wrong_setting("Failed to ...: the store does not know the access key", AWS_ACCESS_KEY_ID="nobody")
wrong_setting(
    "Failed to ...: the secret key does not fit the access key", AWS_SECRET_ACCESS_KEY="wrong"
)
wrong_setting("Failed to ...: there is no bucket ... at ...", S3_BUCKET_NAME="no-such-bucket")
wrong_setting("Failed to ...: nothing answers at ...", S3_ENDPOINT_URL="http://127.0.0.1:1")
wrong_setting("Failed to ...: the name ... cannot be resolved", S3_ENDPOINT_URL="http://no.invalid")
wrong_setting("The CA bundle ... cannot be read", S3_CA_BUNDLE="/nowhere/ca.pem")
wrong_setting("Failed to log in to PostgreSQL at ... as ...", *BACKUP, DB_PASSWORD="wrong")
wrong_setting("Failed to reach PostgreSQL at ...", *BACKUP, way=1, DB_PORT=1)
wrong_setting("Failed to open the database ... at ...: it does not exist", *BACKUP, DB_NAME="crn")
wrong_setting(
    "Failed to trust PostgreSQL at ...: it does not encrypt", *BACKUP, way=1, DB_SSLMODE="require"
)
wrong_setting(
    "Failed to find pg_dump ...: the server is PostgreSQL ...", *BACKUP, PG_BIN_DIR="/etc"
)


# --- the config ---


@trouble("The config ... holds secrets and others may read it", *LIST)
def a_config_that_others_may_read(world):
    world.config.path.chmod(0o644)
    world.stands["FILE"] = str(world.config.path)


@trouble("Line ... of ... has a blank beside the =", *LIST)
def a_blank_beside_the_equals(world):
    path = world.config.path
    path.write_text(path.read_text().replace("DB_PORT=", "DB_PORT = "))
    world.stands["FILE"] = str(path)


@trouble("... begins with a byte order mark", *LIST)
def a_byte_order_mark(world):
    path = world.config.path
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    world.stands["FILE"] = str(path)


@trouble("Failed to read the config ...", "list", "--config", "/nowhere.env", way=1)
def a_config_that_is_not_there(world):
    world.stands["FILE"] = str(world.config.path)


@trouble("The signing key ... may be read or written by others than its owner", "key")
def a_key_that_others_may_read(world):
    key = world.config.path.with_name("signing.key")
    key.chmod(0o644)
    world.stands["FILE"] = str(key)


@trouble("The signing key ...", "key")
def a_key_that_is_none(world):
    key = world.config.path.with_name("signing.key")
    key.write_text("not a key\n")
    world.stands["FILE"] = str(key)


@trouble("Others than its owner may write ..., which says whom to believe", *AHEAD)
def trusted_signers_that_others_may_write(world):
    world.backup()
    path = world.config.path.with_name("trusted_signers")
    path.chmod(0o666)
    world.stands["FILE"] = str(path)


# --- what is typed ---


@trouble("Which database? There are ...", "prune")
def one_of_two_databases(world):
    world.config.write(DB_NAME=None, DB_NAMES=f"{world.database.name} other")


@trouble("The database ... is not in the settings", "prune", "--database", "crn")
def a_database_that_is_not_ours(world):
    pass


@trouble("... is not a time of day", "run", "--at", "7:00")
def a_time_of_day(world):
    pass


@trouble("There is nobody to tell: no alert addresses are set", "alert-test")
def nobody_to_tell(world):
    receiver = world.exits.enter_context(HttpReceiver())
    world.right["ALERT_URLS"] = f"json://127.0.0.1:{receiver.port}/"


# --- the store ---


@trouble("Failed to ...: the address of the store, ..., has the bucket in it", *LIST)
def a_bucket_in_the_address(world):
    address = f"{world.config.values['S3_ENDPOINT_URL']}/{world.bucket}"
    world.set(S3_ENDPOINT_URL=address)


@trouble("Failed to ...: there is no bucket ... at ..., and new ones have small letters", *LIST)
def a_bucket_in_capitals(world):
    world.set(S3_BUCKET_NAME=world.bucket.capitalize())


@trouble("Failed to ...: ... does not speak TLS", *LIST)
def https_where_http_is_spoken(world):
    address = world.config.values["S3_ENDPOINT_URL"]
    world.set(S3_ENDPOINT_URL=address.replace("http:", "https:"))


@trouble("Failed to ...: the certificate of ... is not trusted", *LIST)
def an_authority_of_its_own(world):
    store, new_bucket = world.fixture("s3_tls"), world.fixture("new_bucket")
    keys = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
    bucket = new_bucket(store)
    world.config.write(S3_ENDPOINT_URL=store.endpoint_url, S3_BUCKET_NAME=bucket, **keys)
    world.right["S3_CA_BUNDLE"] = store.ca_bundle
    world.config.write(S3_CA_BUNDLE=None)


# --- PostgreSQL ---


@trouble("Failed to open the database ...", *BACKUP)
def nobody_may_connect(world):
    world.sql(f'ALTER DATABASE "{world.database.name}" ALLOW_CONNECTIONS false')


@trouble("Failed to open the database ...", *BACKUP)
def the_user_may_not_connect(world):
    name, owner = world.database.name, world.database.owner
    world.sql(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC, "{owner}"')


@trouble("Failed to get a connection to PostgreSQL at ...: it has none left", *BACKUP, way=1)
def no_connection_left_for_the_role(world):
    world.sql(f'ALTER ROLE "{world.database.owner}" CONNECTION LIMIT 0')


@trouble(
    "Failed to get a connection to PostgreSQL at ...: it has none left", *BACKUP, way=1, dear=True
)
def no_connection_left_for_the_database(world):
    world.sql(f'ALTER DATABASE "{world.database.name}" CONNECTION LIMIT 0')


@trouble("permission denied for ...", *BACKUP)
def a_table_of_others(world):
    world.inside("CREATE TABLE secret (id int)")


@trouble("query would be affected by row-level security policy", *BACKUP)
def rows_that_are_hidden(world):
    world.inside("CREATE TABLE secret (id int); ALTER TABLE secret ENABLE ROW LEVEL SECURITY")
    world.inside(f'GRANT SELECT ON secret TO "{world.database.owner}"')


# --- the server kit ---


@trouble("No files are named for the kit", "kit")
def no_files_for_a_kit(world):
    world.config.write(KIT_PLAIN="true")
    world.right["BACKUP_PATHS"] = _file(world)


@trouble("The path ... in backup_paths does not exist", "kit")
def a_path_that_is_not_there(world):
    world.config.write(KIT_PLAIN="true", BACKUP_PATHS=_file(world))
    world.set(BACKUP_PATHS="/nowhere/compose.yml")


@trouble("The path ... in backup_paths is not absolute", "kit", dear=True)
def a_path_that_is_not_absolute(world):
    world.config.write(KIT_PLAIN="true", BACKUP_PATHS=_file(world))
    world.set(BACKUP_PATHS="compose.yml")


@trouble(
    "The path ... in backup_paths is a link to ..., which is not there", "kit", way=1, dear=True
)
def a_link_to_nowhere(world):
    world.config.write(KIT_PLAIN="true", BACKUP_PATHS=_file(world))
    link = world.folder / "link"
    link.symlink_to("/nowhere")
    world.set(BACKUP_PATHS=str(link))


@trouble("The kit holds secrets (.env), and nothing says whom to encrypt it for", "kit", way=1)
def secrets_in_the_clear(world):
    world.config.write(BACKUP_PATHS=_file(world))


def _file(world: World) -> str:
    path = world.folder / ".env"
    path.write_text("A=1\n")
    return str(path)


# --- a restore ---


@trouble("There is no backup ... under ...", "restore", "2020-01-01", dear=True)
def a_backup_that_is_not_there(world):
    world.stands["FILE"] = world.backup()


@trouble("There is no backup of ... of ... under ...", *AHEAD)
def no_backup_at_all(world):
    pass


@trouble("... is a backup of ..., not of ... on ...", "restore", dear=True)
def a_backup_of_another(world):
    name = world.backup()
    world.stands["KEY"] = f"postgres-backup/{name}"
    world.config.write(SERVER_NAME="another")
    world.again.append(name)


@trouble("... is a part of a database, and takes no whole one's place", "restore", dear=True)
def a_part_of_a_database(world):
    world.backup()
    world.again += [world.backup("--tables", "users"), "--check"]
    world.stands["TABLE"] = "users"


@trouble("There is no table ... in ...", *AHEAD, "--tables", "userz")
def a_table_that_is_not_in_it(world):
    world.backup()
    world.stands["TABLE"] = "users"


@trouble("There are several tables ... in ...", *AHEAD, "--tables", "things", dear=True)
def a_table_of_two_schemas(world):
    owner = world.database.owner
    for schema in ("shop", "stock"):
        world.inside(
            f'CREATE SCHEMA {schema} AUTHORIZATION "{owner}"; SET ROLE "{owner}";'
            f"CREATE TABLE {schema}.things (id int)"
        )
    world.backup()
    world.stands |= {"SCHEMA": "shop", "NAME": "things"}


@trouble("... : that is less than ... percent (backup_restore_min_percent)", *AHEAD)
def far_fewer_rows(world):
    world.backup()
    world.inside("INSERT INTO users SELECT n FROM generate_series(51, 5000) n")
    world.config.write(RESTORE_MIN_PERCENT=50)


@trouble("... may not create databases, and a restore is loaded beside the live one", *AHEAD)
def no_right_to_create_databases(world):
    world.backup()
    world.sql(f'ALTER ROLE "{world.database.owner}" NOCREATEDB')


@trouble("... may not rename the database ...: its owner is ...", *AHEAD)
def a_database_of_another_owner(world):
    world.backup()
    owner = f"{world.database.role_prefix}boss"
    world.sql(f'CREATE ROLE "{owner}"')
    world.sql(f'ALTER DATABASE "{world.database.name}" OWNER TO "{owner}"')
    world.stands["OWNER"] = owner


@trouble("... and ... may not create roles", *AHEAD)
def a_role_that_is_gone(world):
    role = f"{world.database.role_prefix}reader"
    world.sql(f'CREATE ROLE "{role}"')
    world.inside(f'GRANT SELECT ON users TO "{role}"')
    world.backup()
    world.inside(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@trouble("Only a superuser may make again what the database holds", *AHEAD)
def what_only_a_superuser_makes(world):
    world.inside(
        "CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION seen()"
    )
    world.backup()


@trouble("Nobody vouches for ...", *AHEAD)
def a_backup_of_an_older_script(world):
    _of_a_script(world)


@trouble("Nobody vouches for ...", *AHEAD, way=1, dear=True)
def a_backup_that_is_trusted_this_once(world):
    _of_a_script(world)


def _of_a_script(world: World) -> None:
    engine.forge(world.client, world.bucket, utc_now(), database=world.database.name, signed=False)


@trouble("... is encrypted and no private key was given", "verify", "latest")
def a_key_that_is_not_given(world):
    _encrypted(world)


@trouble(
    "Failed to decrypt the backup: none of the private keys given opens it", "verify", dear=True
)
def a_key_of_others(world):
    _encrypted(world)
    world.again += ["latest", "--identity", _identity(world, "other.txt")[0]]


@trouble("There is no private key in ...", "verify", "latest", "--identity", "/etc/hostname")
def a_file_that_is_no_key(world):
    _encrypted(world)


def _encrypted(world: World) -> None:
    path, public = _identity(world, "key.txt")
    world.config.write(AGE_RECIPIENTS=public)
    world.backup()
    world.stands["FILE"] = path


def _identity(world: World, name: str) -> tuple[str, str]:
    """The file of a new private key, and its public key."""
    made, path = x25519.Identity.generate(), world.folder / name
    path.write_text(f"{made}\n")
    return str(path), str(made.to_public())


@trouble("There is a database ..., and a copy takes nobody's place", "restore", "latest", "--as")
def a_copy_of_a_name_that_is_taken(world):
    world.backup()
    taken = world.fixture("new_database")(f"{world.database.name}_taken")
    world.again += [taken.name]
    world.stands["NAME"] = f"{world.database.name}_look"


@trouble(
    "... is no name for a copy: it is not safe to type",
    "restore",
    "latest",
    "--as",
    "a=b",
    dear=True,
)
def a_copy_of_an_unsafe_name(world):
    world.backup()
    world.stands["NAME"] = f"{world.database.name}_look"


@trouble("There is no database ... to bring tables back into", "restore", "latest", "--tables")
def a_database_that_is_gone(world):
    world.backup()
    world.again += ["users"]
    world.sql(f'DROP DATABASE "{world.database.name}"')


@trouble(
    "There is no database ... to restore in place", "restore", "latest", "--in-place", dear=True
)
def nothing_to_restore_in_place(world):
    world.backup()
    world.sql(f'DROP DATABASE "{world.database.name}"')


@trouble("Failed to bring the tables back", "restore", "latest", "--tables", "orders")
def rows_that_belong_to_rows_that_are_gone(world):
    world.backup()
    world.inside("DELETE FROM orders; DELETE FROM users")
    world.stands |= {"TABLE": "orders", "OTHER": "users"}


@trouble("... is not the object that was uploaded", "restore")
def a_backup_that_was_changed(world):
    world.stands["FILE"] = world.backup()
    name = world.backup()
    key = f"postgres-backup/{name}"
    body = bytearray(world.client.get_object(Bucket=world.bucket, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    world.client.put_object(Bucket=world.bucket, Key=key, Body=bytes(body))
    world.again.append(name)


@trouble("Nothing to undo: no replaced database of ... is kept", "undo-restore", dear=True)
def nothing_to_undo(world):
    world.stands["FILE"] = world.backup()
    world.passing.append(lambda: world.again.__setitem__(0, "restore"))


@trouble("No replaced database ... is kept", "undo-restore", "crm_before_noon", dear=True)
def a_kept_database_of_another_name(world):
    world.backup()
    world.done("restore", "latest")


@trouble("Another run holds the lock of ...", *BACKUP)
def another_run_at_work(world):
    run = world.exits.enter_context(contextlib.ExitStack())
    run.enter_context(lock.hold(world.config.settings, world.database.name, "backup"))
    world.passing.append(run.close)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.gameday] if found.dear else [])
        for name, found in TROUBLES.items()
    ],
)
def test_what_the_page_says_mends_it(world, name):
    found = TROUBLES[name]
    row = row_of(found.says)
    world.again = list(found.words)
    found.provoke(world)
    failed = world.type(*world.again)
    said = " ".join(failed.stdout.split())
    assert failed.returncode in (1, 2, 3, 4), said
    words = found.says.removeprefix("... ").removeprefix(": ")
    assert any(sentences.begins(words, said[at:]) for at in range(len(said))), said
    world.mend(pieces_of(row["mend"], found.way))
    again = world.type(*world.again)
    assert again.returncode == 0, (world.again, again.stdout)


def test_at_least_forty_sentences_are_tried():
    assert len({one.says for one in TROUBLES.values() if not one.dear}) >= 40
