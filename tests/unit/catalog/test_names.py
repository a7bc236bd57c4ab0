from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postgres_backup.catalog.names import (
    SUFFIXES,
    BackupName,
    Layout,
    is_latest,
    named_in_part,
    own_folder,
    shared_prefix,
)
from postgres_backup.catalog.recovered import place
from postgres_backup.drill.rehearsal import prefix_of
from postgres_backup.pitr.places import in_bucket
from postgres_backup.settings import Settings

NIGHT = datetime(2026, 1, 27, tzinfo=timezone.utc)
times = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1), timezones=st.just(timezone.utc)
).map(lambda m: m.replace(microsecond=0))


@given(times, st.sampled_from(sorted(SUFFIXES)), st.booleans())
def test_a_name_reads_back_as_what_it_was(taken_at, suffix, encrypted):
    name = BackupName(taken_at, suffix, encrypted)
    assert BackupName.parse(str(name)) == name


@given(times, times)
def test_names_order_as_their_times_do(one, other):
    assert (str(BackupName(one)) < str(BackupName(other))) == (one < other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "postgres-backup-",
        "postgres-backup-2026-01-27_00-00-00",
        "postgres-backup-2026-01-27_00-00-00.sql.gz.tmp",
        "my-postgres-backup-2026-01-27_00-00-00.sql.gz",
        "postgres-backup-2026-02-30_00-00-00.sql.gz",
        "postgres-backup-2026-01-27_24-00-00.sql.gz",
        "postgres-backup-2026-01-27_00-00-00.users.sql.gz",
        "postgres-backup-2026-01-27_00-00-00.sql.gz\n",
        "POSTGRES-BACKUP-2026-01-27_00-00-00.sql.gz",
        "postgres-backup-٢٠٢٦-01-27_00-00-00.sql.gz",
    ],
)
def test_what_is_not_exactly_a_name_is_none(text):
    assert BackupName.parse(text) is None


def test_the_name_is_of_the_time_in_utc():
    almaty = timezone(timedelta(hours=5))
    assert (
        str(BackupName(datetime(2026, 1, 27, 5, 0, 0, tzinfo=almaty)))
        == "postgres-backup-2026-01-27_00-00-00.sql.gz"
    )


@pytest.mark.parametrize(
    ("format", "compression", "encrypted", "suffix"),
    [
        ("plain", "gzip", False, ".sql.gz"),
        ("plain", "zstd", False, ".sql.zst"),
        ("custom", "gzip", False, ".dump"),
        ("plain", "gzip", True, ".sql.gz.age"),
        ("custom", "zstd", True, ".dump.age"),
    ],
)
def test_the_suffix_says_how_it_is_packed(format, compression, encrypted, suffix):
    assert (
        str(BackupName.of(NIGHT, format, compression, encrypted))
        == f"postgres-backup-2026-01-27_00-00-00{suffix}"
    )


def test_one_database_lies_directly_under_the_prefix():
    layout, name = Layout("postgres-backup"), BackupName(NIGHT)
    assert layout.backup(name) == "postgres-backup/postgres-backup-2026-01-27_00-00-00.sql.gz"
    assert (
        layout.manifest(name)
        == "postgres-backup/manifests/postgres-backup-2026-01-27_00-00-00.json"
    )
    assert (
        layout.globals(name) == "postgres-backup/globals/postgres-backup-2026-01-27_00-00-00.sql.gz"
    )
    assert (
        layout.partial(name, "users")
        == "postgres-backup/partial/postgres-backup-2026-01-27_00-00-00.users.sql.gz"
    )
    assert (
        layout.partial(name, "schema")
        == "postgres-backup/partial/postgres-backup-2026-01-27_00-00-00.schema.sql.gz"
    )
    assert (
        layout.journal(NIGHT, "backup") == "postgres-backup/journal/2026-01-27_00-00-00-backup.json"
    )


@pytest.mark.parametrize("prefix", ["", "/", "a/b", "/a/b/"])
def test_the_root_has_one_slash_at_its_end_and_none_before(prefix):
    root = Layout(prefix).root
    assert not root.startswith("/")
    assert root == "" or (root.endswith("/") and not root.endswith("//"))


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_databases_never_share_a_root_and_none_escapes_the_prefix(one, other):
    first, second = Layout("p", one).root, Layout("p", other).root
    assert (first == second) == (one == other)
    assert not first.startswith(second) or one == other
    assert first.count("/") == 2


@given(st.sampled_from(["p", "a/b"]), st.text(min_size=1), st.text(min_size=1))
def test_two_servers_never_share_a_folder_and_each_tells_the_prefix_of_all(prefix, one, other):
    first, second = own_folder(prefix, one), own_folder(prefix, other)
    assert (first == second) == (one == other)
    assert shared_prefix(first, one) == prefix
    assert shared_prefix(first, other) == (prefix if one == other else first)


def test_what_lies_beside_the_prefix_stays_there_when_a_server_moves_into_its_folder():
    before, after = (
        Settings(
            server_name="db 1",
            databases=("crm",),
            db_user="crm",
            s3_endpoint_url="https://object.pscloud.io",
            s3_bucket="backups",
            s3_access_key="AKIDEXAMPLE",
            s3_secret_key="secret",
            s3_prefix=prefix,
        )
        for prefix in ("p", own_folder("p", "db 1"))
    )
    assert in_bucket(before, "7") == in_bucket(after, "7") == "/p-pitr/db%201/7"
    assert prefix_of(before) == prefix_of(after) == "p-rehearsal/db%201"
    assert (place(before).s3_prefix, place(after).s3_prefix) == (
        "p-recovered",
        "p-recovered/db%201",
    )


def test_proofs_lie_beside_their_backup():
    layout, name = Layout("postgres-backup"), BackupName(NIGHT, ".dump", encrypted=True)
    assert layout.proof(name, NIGHT) == (
        "postgres-backup/proofs/postgres-backup-2026-01-27_00-00-00-2026-01-27_00-00-00.json"
    )
    assert Layout("p", "proofs").root == "p/%70roofs/"


def test_the_name_of_a_part_is_read_back_and_is_no_whole_one():
    name = BackupName(datetime(2026, 1, 27, tzinfo=timezone.utc), ".sql.zst", True)
    for what in ("users", "public.users+orders", '"My table"', "schema", "sql", "x" * 300, "Ә.sql"):
        part = name.of_part(what)
        key = Layout("p").partial(name, what)
        assert key == f"p/partial/{part}"
        assert BackupName.parse_part(str(part)) == part
        assert BackupName.parse(str(part)) is None
        assert Layout("p").manifest(part) == f"{key}.json"
    for other in (str(name), f"{name.of_part('users')}.json", "postgres-backup-x.users.sql.gz"):
        assert BackupName.parse_part(other) is None


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("2026-11-22", 2),
        ("11-22", 2),
        ("2026-11-22_03", 1),
        ("2026-11-22 03:00", 1),
        ("2026-11-22T03:00:00", 1),
        ("postgres-backup-2026-11-22_03-00-00", 1),
        ("postgres-backup-2026-11-22_03-00-00.sql", 0),  # a whole name: that, or none
        ("2026-11-23", 0),
        ("2026", 0),
        ("2026-11", 0),
        ("gz", 0),
        ("postgres-backup-", 0),
        ("", 0),
        ("*", 0),
    ],
)
def test_a_part_of_a_name_means_those_that_have_it_and_a_day_at_least(wanted, meant):
    names = [f"postgres-backup-2026-11-2{at}.sql.gz" for at in ("2_03-00-00", "2_15-00-00", "1_0")]
    assert len(named_in_part(wanted, names)) == meant


def test_the_latest_is_meant_in_letters_of_any_size():
    assert all(map(is_latest, ("latest", "Latest", "LATEST", " latest")))
    assert not any(map(is_latest, ("late", "the latest", "")))
