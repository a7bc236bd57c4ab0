"""What the bucket holds, whoever put it there: the right `latest`, exact names, and never a wrong
claim.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog import backups as backups_room
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.errors import StoreError, UsageError
from postgres_backup.health import listing, status
from postgres_backup.s3.store import Store
from postgres_backup.shapes.reader import MOST_BYTES
from tests.integration import engine
from tests.services.proxy import FaultProxy

NOW = datetime(2026, 1, 27, tzinfo=timezone.utc)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def config(new_config, s3, bucket):
    """Of a database ``crm`` whose server is not there: a catalog needs none."""
    return new_config(engine.NO_SERVER, s3, bucket)


def catalog(config, database: str = "crm") -> Catalog:
    return Catalog(config.settings, Store(config.settings), database)


def states(config) -> dict[str, str]:
    return {line["backup"]: line["state"] for line in listing.look(config.settings)["backups"]}


def test_more_objects_than_one_page(config, s3_client, bucket):
    script = b"not read here"
    with ThreadPoolExecutor(8) as pool:
        for number in range(1060):
            pool.submit(
                engine.forge,
                s3_client,
                bucket,
                days_ago(10 + number),
                body=script,
                with_manifest=False,
            )
    ours = [
        engine.forge(s3_client, bucket, days_ago(50.5 + number)) for number in range(0, 900, 30)
    ]
    backups = catalog(config).backups()
    assert len(backups) == 1090
    assert [b.taken_at for b in backups] == sorted((b.taken_at for b in backups), reverse=True)
    assert [str(b.name) for b in backups if b.ours] == ours
    assert str(catalog(config).resolve("latest").name) == ours[0]
    oldest = str(backups[-1].name)
    assert str(catalog(config).resolve(oldest).name) == oldest


def test_what_others_put_under_the_prefix_is_never_ours(config, s3_client, bucket):
    mine = engine.forge(s3_client, bucket, days_ago(3))
    other_server = engine.forge(s3_client, bucket, days_ago(2), server="other-server")
    other_database = engine.forge(s3_client, bucket, days_ago(1), database="crm_test")
    script = engine.forge(s3_client, bucket, days_ago(0.5), with_manifest=False)
    for key in (
        "postgres-backup-2026-01-27_00-00-00.users.sql.gz",
        "readme.txt",
        "postgres-backup-latest.sql.gz",
        "mysql-backup-2026-01-27_00-00-00.sql.gz",
    ):
        s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{key}", Body=b"x")
    engine.forge(s3_client, bucket, days_ago(0), prefix="postgres-backup2")
    engine.forge(s3_client, bucket, days_ago(0), prefix="postgres-backup/deeper")
    assert states(config) == {
        mine: "good",
        other_server: "foreign",
        other_database: "foreign",
        script: "unproven",
    }
    assert {str(b.name) for b in catalog(config).backups() if b.ours} == {mine}
    assert str(catalog(config).resolve("latest").name) == mine


def test_a_part_of_a_name_is_enough_where_only_one_has_it(config, s3_client, bucket):
    names = [engine.forge(s3_client, bucket, days_ago(day)) for day in (0.5, 1, 1.5)]
    other = engine.forge(s3_client, bucket, days_ago(40), server="other-server")
    assert str(catalog(config).resolve("2026-01-25").name) == names[2]
    assert str(catalog(config).resolve("Latest").name) == names[0]
    with pytest.raises(UsageError, match="'2026-01-26' means 2 backups") as caught:
        catalog(config).resolve("2026-01-26")
    assert caught.value.message.endswith(f": {names[0]}, {names[1]}")
    with pytest.raises(UsageError, match="no backup '2025-12-18'"):  # another server's
        catalog(config).resolve("2025-12-18")
    assert "2025-12-18" in other


def test_objects_of_the_old_scripts_alone(config, s3_client, bucket):
    names = [
        engine.forge(s3_client, bucket, days_ago(day), with_manifest=False) for day in range(3)
    ]
    assert states(config) == dict.fromkeys(names, "unproven")
    assert str(catalog(config).resolve("latest").name) == names[0]
    assert listing.look(config.settings)["waiting"] == 3


DEEP = b"[" * 100_000
DAMAGED = {
    "empty": b"",
    "not JSON": b'{"schema": 1, "name": "postg',
    "no text": b"\xff\xfe\x00",
    "too deep": DEEP,
    "a list": b"[]",
    "null": b"null",
    "a web page": b"<html>502 Bad Gateway</html>",
    "another program's": b'{"version": "2"}',
    "bare": b'{"schema": 1}',
}
CHANGED = {
    "server is null": {"server": None},
    "bytes is text": {"bytes": "12"},
    "tables is a list": {"tables": []},
    "a table is a number": {"tables": {"public.t": 5}},
    "rows is null": {"rows": None},
    "database is a number": {"database": 5},
    "locale is text": {"locale": "x"},
    "a proof is a number": {"proofs": [1]},
    "seconds are text": {"seconds": "x"},
    "a role has a NUL": {"roles": ["a\0b"]},
}


@pytest.mark.parametrize("kind", [*DAMAGED, *CHANGED])
def test_a_damaged_manifest_spoils_one_backup_and_no_other(config, s3_client, bucket, kind):
    good = engine.forge(s3_client, bucket, days_ago(2))
    bad = engine.forge(s3_client, bucket, days_ago(1), change=CHANGED.get(kind))
    if kind in DAMAGED:
        s3_client.put_object(
            Bucket=bucket,
            Key=Layout("postgres-backup").manifest(BackupName(days_ago(1))),
            Body=DAMAGED[kind],
        )
    lines = {line["backup"]: line for line in listing.look(config.settings)["backups"]}
    assert {name: line["state"] for name, line in lines.items()} == {good: "good", bad: "bad"}
    assert "manifest" in lines[bad]["problem"]
    assert lines[bad]["keep"]  # nobody knows whose it is
    assert str(catalog(config).resolve("latest").name) == good
    # the store itself says of a page that it is one
    code = "MANIFEST_UNREADABLE" if kind == "a web page" else "MANIFEST_DAMAGED"
    assert catalog(config).resolve(bad).problem_code == code
    assert any(f["code"] == code for f in status.status(config.settings)["findings"])


def test_a_manifest_larger_than_any_spoils_one_backup(config, s3_client, bucket):
    good = engine.forge(s3_client, bucket, days_ago(2))
    bad = engine.forge(s3_client, bucket, days_ago(1))
    key = Layout("postgres-backup").manifest(BackupName(days_ago(1)))
    s3_client.put_object(Bucket=bucket, Key=key, Body=b" " * (MOST_BYTES + 1))
    assert states(config) == {good: "good", bad: "bad"}
    assert catalog(config).resolve(bad).problem_code == "MANIFEST_UNREADABLE"


def test_more_objects_than_backups_ever_make_are_refused(config, s3_client, bucket, monkeypatch):
    for number in range(3):
        engine.forge(s3_client, bucket, days_ago(number))
    assert len(catalog(config).backups()) == 3
    monkeypatch.setattr(backups_room, "_MOST_BACKUPS", 2)
    with pytest.raises(StoreError, match="more than 2 objects") as caught:
        catalog(config).backups()
    assert "backup_s3_prefix" in caught.value.hint


def test_a_manifest_of_a_newer_program_is_left_alone(config, s3_client, bucket):
    newer = engine.forge(s3_client, bucket, days_ago(1), change={"schema": 3})
    found = catalog(config).resolve(newer)
    assert (found.problem_code, found.ours) == ("MANIFEST_NEWER", False)
    done = engine.run(config.path, "verify", newer)
    engine.failed_well(done, 4, "schema 3", "MANIFEST_NEWER")


def test_an_object_that_is_not_the_one_of_its_manifest(config, s3_client, bucket):
    cut = engine.forge(s3_client, bucket, days_ago(1))
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{cut}", Body=b"short")
    copied = engine.forge(
        s3_client,
        bucket,
        days_ago(2),
        change={"name": "postgres-backup-2025-01-01_00-00-00.sql.gz"},
    )
    assert states(config) == {cut: "bad", copied: "bad"}
    assert catalog(config).resolve(cut).problem_code == "SIZE_DIFFERS"
    assert catalog(config).resolve(copied).problem_code == "MANIFEST_OF_ANOTHER"
    # the newest of ours is a bad one: whoever wants the latest hears of it instead of getting an
    # older one
    assert str(catalog(config).resolve("latest").name) == cut
    engine.failed_well(engine.run(config.path, "verify", "latest"), 4, "5 bytes", "SIZE_DIFFERS")


def test_a_name_that_does_not_exist_names_the_three_nearest(config, s3_client, bucket):
    names = [engine.forge(s3_client, bucket, days_ago(day)) for day in range(0, 100, 10)]
    foreign = engine.forge(s3_client, bucket, days_ago(0.01), server="other")
    wanted = names[2].replace("00-00-00", "00-00-01")
    done = engine.run(config.path, "verify", wanted)
    text = engine.failed_well(done, 2, wanted, names[2], "nearest")
    assert sum(name in text for name in names) == 3
    assert foreign not in text


NEARLY = """latest.sql.gz postgres-backup 2026-01 * {}.tmp ../{} other/{}
s3://other/postgres-backup/{}""".split()


@pytest.mark.parametrize("wanted", ["", *NEARLY])
def test_nothing_less_than_a_day_and_nothing_that_is_no_part_is_a_name(
    config, s3_client, bucket, wanted
):
    name = engine.forge(s3_client, bucket, NOW)
    with pytest.raises(UsageError, match="There is no backup"):
        catalog(config).resolve(wanted.format(name))
    for right in (
        name,
        f"postgres-backup/{name}",
        f"s3://{bucket}/postgres-backup/{name}",
        "latest",
        "LATEST",
        name.partition(".")[0],
        "2026-01-27",
    ):
        assert str(catalog(config).resolve(right).name) == name


def test_nothing_there_says_what_to_do(config):
    engine.failed_well(
        engine.run(config.path, "verify", "latest"),
        2,
        "There is no backup of crm",
        "postgres-backup backup",
    )
    engine.failed_well(
        engine.run(config.path, "verify", "x"), 2, "There is no backup", "postgres-backup list"
    )
    done = engine.run(config.path, "list")
    assert (done.returncode, done.stdout) == (0, "There are no backups yet.\n")


@pytest.mark.parametrize("prefix", ["", "a/b", "postgres-backup/crm"])
def test_any_prefix(config, s3_client, bucket, prefix):
    settings = config.change(S3_PREFIX=prefix)
    name = engine.forge(s3_client, bucket, days_ago(1), prefix=prefix)
    found = catalog(config).resolve("latest")
    assert (str(found.name), found.ours) == (name, True)
    assert found.key == (f"{prefix}/" if prefix else "") + name
    assert len(listing.look(settings)["backups"]) == 1


def test_a_name_that_once_was_a_folder_of_ours(config, s3_client, bucket):
    """A database called ``globals``: the globals of another one's backup are no backups of it."""
    engine.forge(s3_client, bucket, days_ago(1))
    settings = config.change(DB_NAMES="crm globals")
    assert [b for b in catalog(config, "globals").backups() if b.candidate] == []
    assert len(listing.look(settings)["backups"]) == 1


def test_the_bucket_alone_is_enough(config, s3_client, bucket, new_config, s3, tmp_path):
    """The state is lost with the machine; another one with the same name sees, owns and prunes the
    same.
    """
    names = [
        engine.forge(
            s3_client,
            bucket,
            datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=day, minutes=5),
        )
        for day in range(9)
    ]
    before = json.loads(engine.run(config.path, "list", "--json").stdout)
    shutil.rmtree(config.settings.state_dir, ignore_errors=True)
    rebuilt = new_config(engine.NO_SERVER, s3, bucket)
    after = json.loads(engine.run(rebuilt.path, "list", "--json").stdout)
    ages = ("age_hours",)
    assert [{k: v for k, v in line.items() if k not in ages} for line in after["backups"]] == [
        {k: v for k, v in line.items() if k not in ages} for line in before["backups"]
    ]
    assert [line["backup"] for line in after["backups"] if line["ours"]] == names
    pruned = engine.answer(engine.run(rebuilt.path, "prune", "--json"))
    assert [d["backup"] for d in pruned["deleted"]] == names[7:]


def test_only_a_proof_of_this_backup_and_manifest_counts(config, s3, s3_client, bucket):
    """Each proof is asked for once, and those of what is not there are not."""
    names = [BackupName(days_ago(day)) for day in range(5)]
    layout = Layout("postgres-backup")
    for name in names:
        engine.forge(s3_client, bucket, name.taken_at)

    def data_of(name: BackupName) -> bytes:
        return s3_client.get_object(Bucket=bucket, Key=layout.manifest(name))["Body"].read()

    proven, of_another, of_another_manifest, odd, _ = names
    at = days_ago(0)
    place = (s3_client, bucket, layout)
    engine.forge_proof(*place, proven, at, data_of(proven), kind="restored")
    engine.forge_proof(*place, of_another, at, data_of(proven), backup=str(proven))
    engine.forge_proof(*place, of_another_manifest, at, data_of(proven))
    for number, body in enumerate([b"", b"[]", b"{}", b"null", b"x" * 20_000]):
        key = layout.proof(odd, days_ago(0.1 * number))
        s3_client.put_object(Bucket=bucket, Key=key, Body=body)
    gone = BackupName(days_ago(9))
    engine.forge_proof(*place, gone, at, data_of(proven), backup=str(gone))
    with FaultProxy(s3.endpoint_url) as between:
        config.change(S3_ENDPOINT_URL=between.endpoint_url)
        found = catalog(config).backups()
        asked = [request for request in between.requests if "proofs" in request]
    assert [backup.proven for backup in found] == [True, False, False, False, False]
    assert [backup.state for backup in found] == ["proven", "good", "good", "good", "good"]
    assert len(found[3].noted.unread) == 5
    gets = [request for request in asked if "list-type" not in request]
    assert len(gets) == len(set(gets)) == 8 + 3, "proofs, and signatures where there are some"
    assert not any(gone.stem in request for request in gets)
    assert len(asked) - len(gets) == 1, "one listing: where they would lie otherwise is no folder"
