"""What names and definitions alone refuse is refused before a row of the backup is loaded."""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import UsageError
from postgres_backup.job import Job
from postgres_backup.restore import side_database, tables
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    'CREATE TABLE "Odd, one" (id int)',
    "CREATE TABLE ev (id int, at date) PARTITION BY RANGE (at)",
    "CREATE TABLE ev25 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "CREATE TABLE ev26 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 100) n",
    "INSERT INTO ev SELECT n, date '2025-12-01' + n FROM generate_series(1, 60) n",
)


class Shop:
    """A backed-up shop, and what became of it.

    :ivar loaded: how often a backup was read to its end; ``begun``: how often a load began.
    """

    def __init__(self, job: Job, server, name: str) -> None:
        self.job, self.server, self.name = job, server, name
        self.loaded = self.begun = 0

    def ask(self, *statements: str) -> None:
        run_sql(self.server, self.name, *statements)

    def restore(self, *names: str, check: bool = False):
        job = Job(self.job.settings, check=check)
        return tables.restore_tables(job, "latest", names)

    def refused(self, *names: str) -> UsageError:
        before = databases_of(self.server)
        for check in (True, False):
            with pytest.raises(UsageError) as refused:
                self.restore(*names, check=check)
        assert databases_of(self.server) == before
        assert self.loaded == 0
        return refused.value


@pytest.fixture
def shop(database, config, monkeypatch) -> Shop:
    run_sql(database.server, database.name, *SHOP)
    made = Shop(Job(as_superuser(config, database.server)), database.server, database.name)
    create_backup(made.job)
    begins, reads = tables.load_side_database, side_database.require_whole

    def begun(*args, **more):
        made.begun += 1
        return begins(*args, **more)

    def read(*args):
        made.loaded += 1
        return reads(*args)

    monkeypatch.setattr(tables, "load_side_database", begun)
    monkeypatch.setattr(side_database, "require_whole", read)
    return made


def test_a_name_that_is_none_is_told_by_the_manifest(shop, s3_client, bucket):
    for wrong, right in (("userz", "public.users"), ("evv", "public.ev"), ("far.users", "users")):
        refused = shop.refused("ev", wrong)
        assert f"There is no table {wrong} in postgres-backup-" in refused.message
        assert right in refused.hint.replace("The nearest: ", "").split(", ")[0]
    assert shop.begun == 0
    done = shop.restore("EV", "ev25", '"Odd, one"', "public.USERS", check=True)
    assert [table["rows"] for table in done["tables"]] == [60, 0, 100]
    manifest = engine.manifest_of(s3_client, bucket, {"key": done["key"]})
    assert manifest["rowless"] == ["public.ev"]


def test_a_backup_that_does_not_name_all_its_tables_is_asked_for_its_definitions(
    shop, config, monkeypatch
):
    monkeypatch.setattr(tables, "require_names", lambda *_: None)
    assert "There is no table userz in" in shop.refused("userz").message
    assert shop.begun == 2
    config.change(BACKUP_FORMAT="custom")
    taken = create_backup(Job(as_superuser(config, shop.server)))
    assert taken["backup"].endswith(".dump")
    assert f"There is no table userz in {taken['backup']}" in shop.refused("userz").message


def test_what_definitions_tell_is_told_before_rows_are_loaded(shop):
    shop.ask("ALTER TABLE users DROP name")
    refused = shop.refused("users")
    assert "other columns now" in refused.message
    assert "ADD COLUMN" in refused.hint
    shop.ask("ALTER TABLE users RENAME TO people", "CREATE VIEW users AS SELECT 1")
    assert "is a view now" in shop.refused("ev", "users").message
    shop.ask("DROP TABLE ev25")
    refused = shop.refused("ev25")
    assert "was a partition of" in refused.message
    for names in (["ev"], ["ev26", "ev"]):
        assert "30 rows of public.ev in the backup" in shop.refused(*names).message
    shop.ask(refused.hint.partition(": ")[2].partition(" (Is")[0])
    assert [table["inserted"] for table in shop.restore("ev")["tables"]] == [30]


def test_a_place_that_others_have_taken_is_no_reason(shop):
    shop.ask(
        "DROP TABLE ev25",
        "CREATE TABLE half_1 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2025-07-01')",
        "CREATE TABLE half_2 PARTITION OF ev FOR VALUES FROM ('2025-07-01') TO ('2026-01-01')",
    )
    assert [table["inserted"] for table in shop.restore("ev")["tables"]] == [30]
