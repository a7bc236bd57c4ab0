"""The second store: each backup is copied there as it is, checked on its way; what fails there or
here harms neither; and a restore comes from there when the first is gone.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from postgres_backup.clock import utc_now
from postgres_backup.health import alarms
from tests.integration import engine
from tests.integration.round_trip import dump_of
from tests.services.hostile_store import HostileStore
from tests.services.plain_s3 import client_of
from tests.services.proxy import FaultProxy

PREFIX = "postgres-backup"
#: all that lies under a key beside a backup: what else is in a bucket is not copied
COPIED = ("postgres-backup-", "manifests/", "globals/", "kit/", "partial/")


@dataclasses.dataclass
class Two:
    """Two real stores and a database with an application's files."""

    config: object
    database: object
    near: SimpleNamespace
    far: SimpleNamespace

    def typed(self, *words: str, status: int = 0):
        done = engine.run(self.config.path, *words)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done

    def asked(self, *words: str) -> dict:
        return engine.answer(self.typed(*words, "--json"))

    def refused(self, status: int, *words: str, says: tuple[str, ...] = ()) -> str:
        return engine.failed_well(engine.run(self.config.path, *words), status, *says)

    def backup(self) -> str:
        return self.asked("backup")["backup"]

    @property
    def alarms(self) -> list[str]:
        return [one["code"] for one in alarms.open_alarms(self.config.settings)]

    def objects(self, place) -> dict[str, bytes]:
        """What of a bucket is copied, by its key below the prefix."""
        found = engine.keys(place.client, place.bucket, f"{place.prefix}/")
        below = {key.removeprefix(f"{place.prefix}/"): key for key in found}
        return {
            short: place.client.get_object(Bucket=place.bucket, Key=key)["Body"].read()
            for short, key in below.items()
            if short.startswith(COPIED)
        }

    def put(self, place, short: str, body: bytes) -> None:
        place.client.put_object(Bucket=place.bucket, Key=f"{place.prefix}/{short}", Body=body)

    def delete(self, place, *shorts: str) -> None:
        for short in shorts:
            place.client.delete_object(Bucket=place.bucket, Key=f"{place.prefix}/{short}")

    def forge(self, place, days: float) -> str:
        at = utc_now() - timedelta(days=days)
        name = self.database.name
        return engine.forge(place.client, place.bucket, at, database=name, prefix=place.prefix)


@pytest.fixture
def two(new_config, database, s3, s3_client, s3_tls, bucket, new_bucket, tmp_path) -> Two:
    database.execute(
        "CREATE TABLE users AS SELECT n, 'user ' || n AS name FROM generate_series(1, 2000) n"
    )
    paper = tmp_path / "application"
    paper.mkdir()
    (paper / ".env").write_text("A=1\n")
    far = SimpleNamespace(
        server=s3_tls, client=client_of(s3_tls), bucket=new_bucket(s3_tls), prefix="copies/here"
    )
    config = new_config(
        database,
        s3,
        bucket,
        **database.as_superuser,
        KIT_PLAIN="true",
        BACKUP_PATHS=str(paper),
        COPY_ENDPOINT_URL=s3_tls.endpoint_url,
        COPY_BUCKET_NAME=far.bucket,
        COPY_PREFIX=far.prefix,
        COPY_CA_BUNDLE=s3_tls.ca_bundle,
        COPY_ACCESS_KEY_ID=s3_tls.access_key,
        COPY_SECRET_ACCESS_KEY=s3_tls.secret_key,
    )
    near = SimpleNamespace(server=s3, client=s3_client, bucket=bucket, prefix=PREFIX)
    return Two(config, database, near, far)


def test_a_night_copies_all_of_it_and_the_next_copies_what_is_new(two):
    """Backups, roles, kits and parts, byte for byte; nothing twice; and all who look know both."""
    two.typed("backup", "--schema-only")
    two.typed("run")
    there = two.objects(two.far)
    assert there == two.objects(two.near)
    assert {key.split("/")[0] for key in there if "/" in key} == {
        "manifests",
        "globals",
        "kit",
        "partial",
    }
    newest = two.asked("list")["backups"][0]
    assert newest["copied"] is True
    seen = two.asked("status")
    known = seen["second_store"]
    assert (known["error"], seen["healthy"], two.alarms) == ("", True, [])
    assert known["databases"][two.database.name]["backups"] == [newest["backup"]]
    assert known["databases"][two.database.name]["bytes"] == newest["bytes"]
    assert seen["costs"]["copy_bytes"] == newest["bytes"]
    assert f"s3://{two.far.bucket}/copies/here" in two.typed("status").stdout
    told = two.typed("list").stdout
    assert "1 of these 1 are in the second store too" in told

    before = {item["Key"]: item["LastModified"] for item in _listed(two.far)}
    again = two.asked("copy")
    assert (again["changed"], again["copied"], again["deleted"]) == (False, [], [])
    second = two.backup()
    planned = two.asked("copy", "--check")
    assert (planned["copied"], planned["changed"]) == ([second], True)
    assert two.objects(two.far) == there
    assert two.asked("copy")["copied"] == [second]
    assert two.objects(two.far) == two.objects(two.near)
    assert before.items() <= {i["Key"]: i["LastModified"] for i in _listed(two.far)}.items()
    listed = two.asked("list", "--from", "copy")["backups"]
    assert [one["backup"] for one in listed] == [second, newest["backup"]]
    assert {one["signature"] for one in listed} == {"trusted"}


def _listed(place) -> list[dict]:
    return place.client.list_objects_v2(Bucket=place.bucket).get("Contents", [])


def test_when_the_first_store_is_gone_the_second_has_all_that_a_rebuild_needs(two, tmp_path):
    """Whoever asks the first hears what the second has, and how to ask; then it is restored,
    looked at, and laid; and what was done is noted where the first store's journal is.
    """
    before = dump_of(two.database.server, two.database.name)
    two.typed("run")
    newest = two.asked("list")["backups"][0]["backup"]
    two.database.execute("TRUNCATE users")
    two.config.change(S3_ENDPOINT_URL="http://127.0.0.1:9")
    for words in (
        ["restore", "latest"],
        ["list"],
        ["verify", "latest"],
        ["drill"],
        ["restore-kit", "latest", "--to", str(tmp_path / "kit")],
    ):
        told = two.refused(1, *words, says=("nothing answers at http://127.0.0.1:9", newest))
        assert "add --from copy" in told
    two.typed("restore-kit", "latest", "--to", str(tmp_path / "kit"), "--from", "copy")
    assert [path.read_text() for path in (tmp_path / "kit").rglob(".env")] == ["A=1\n"]
    assert two.asked("verify", "latest", "--from", "copy")["backup"] == newest
    assert two.asked("drill", "--fast", "--from", "copy")["passed"]
    two.typed("restore", "latest", "--from", "copy")
    assert dump_of(two.database.server, two.database.name) == before
    seen = two.asked("list", "--from", "copy")["backups"]
    assert [one["proof"]["kind"] for one in seen] == ["restored"], "of the copy, beside it"
    two.config.change(S3_ENDPOINT_URL=two.near.server.endpoint_url)
    two.typed("watch")
    history = two.asked("history")
    assert {"restore", "drill"} <= {one["event"] for one in history["events"]}
    assert not [one for one in history["findings"] if one["code"].startswith("EVENT")]


def test_what_is_damaged_in_the_first_never_takes_the_place_of_a_good_copy(two):
    first = two.backup()
    two.typed("copy")
    good = two.objects(two.far)
    body = good[first]
    two.put(two.near, first, bytes([body[0] ^ 1]) + body[1:])
    assert two.asked("copy")["copied"] == []
    second = two.backup()
    whole = two.objects(two.near)[second]
    two.put(two.near, second, whole[:-1] + bytes([whole[-1] ^ 1]))
    third = two.backup()
    told = two.refused(4, "copy", says=(second, "is not the object that was uploaded"))
    assert third in two.objects(two.far), "one that fails keeps no other from being copied"
    assert "copied" in told
    assert two.objects(two.far).items() >= good.items()
    assert second not in two.objects(two.far)
    assert two.alarms == ["COPY_FAILED"]
    two.put(two.near, second, whole)
    two.typed("copy")
    assert (two.alarms, two.objects(two.far)[second]) == ([], whole)


def test_what_is_missing_or_cut_in_the_second_is_made_good(two):
    """The same after a copying that was cut short: without its manifest it is no backup there."""
    name = two.backup()
    two.typed("copy")
    whole = two.objects(two.far)
    stem = name.removesuffix(".sql.gz")
    about, roles = f"manifests/{stem}.json", f"globals/{stem}.sql.gz"
    for missing in ([], [about], [f"{about}.sig"], [roles], [about, f"{about}.sig", roles]):
        two.delete(two.far, *missing)
        if not missing:
            two.put(two.far, name, b"another")
        assert two.asked("copy")["copied"] == [name], missing
        assert two.objects(two.far) == whole, missing
    assert two.asked("copy")["copied"] == []


def test_a_forged_object_there_is_refused_and_another_that_is_signed_is_not_touched(two):
    name = two.backup()
    two.typed("copy")
    body = two.objects(two.far)[name]
    dump = gzip.decompress(body) + b"CREATE ROLE stranger SUPERUSER;\n"
    two.put(two.far, name, gzip.compress(dump))
    two.refused(4, "restore", name, "--from", "copy", says=("its manifest says",))
    two.put(two.far, name, bytes([body[0] ^ 1]) + body[1:])
    two.refused(4, "verify", name, "--from", "copy", says=("is not the object that was uploaded",))
    other = two.forge(two.far, 1)
    mine = engine.forge(
        two.near.client,
        two.near.bucket,
        _time_of(other),
        database=two.database.name,
        dump=engine.SMALL_DUMP.replace(b"\n--\n\n", b"\n--\n\n-- another\n", 1) + b"\n",
    )
    assert mine == other
    there = two.objects(two.far)[other]
    assert two.objects(two.near)[other] != there
    two.refused(4, "copy", says=(other, "another backup lies under that name in the second store"))
    assert two.objects(two.far)[other] == there


def _time_of(name: str):
    from postgres_backup.catalog.names import BackupName

    return BackupName.parse(name).taken_at


def test_its_retention_is_its_own_and_the_newest_stays(two):
    old = [two.forge(two.near, days) for days in (20, 12, 5)]
    two.config.change(RETENTION_DAYS=30, COPY_RETENTION_DAYS=10)
    assert two.asked("copy")["copied"] == [old[2]], "what would go at once is not copied"
    two.config.change(COPY_RETENTION_DAYS=30)
    assert two.asked("copy")["copied"] == [old[1], old[0]]
    two.config.change(COPY_RETENTION_DAYS=10)
    gone = two.asked("copy")["deleted"]
    assert [one["backup"] for one in gone] == [old[0]], "no more than half in one run"
    assert [one["backup"] for one in two.asked("copy")["deleted"]] == [old[1]]
    two.config.change(COPY_RETENTION_DAYS=2)
    assert two.asked("copy")["deleted"] == []
    assert [key for key in two.objects(two.far) if "/" not in key] == [old[2]]
    assert {old[0], old[1], old[2]} <= two.objects(two.near).keys()
    assert not any(old[0].split(".")[0] in key for key in two.objects(two.far))


def test_many_go_in_few_requests(two, new_bucket):
    two.config.change(COPY_CA_BUNDLE=None, COPY_RETENTION_DAYS=2)
    with FaultProxy(two.near.server.endpoint_url) as between:
        far = SimpleNamespace(
            client=two.near.client, bucket=new_bucket(two.near.server), prefix=two.far.prefix
        )
        two.config.change(
            COPY_ENDPOINT_URL=between.endpoint_url,
            COPY_BUCKET_NAME=far.bucket,
            COPY_ACCESS_KEY_ID=two.near.server.access_key,
            COPY_SECRET_ACCESS_KEY=two.near.server.secret_key,
        )
        old = [two.forge(far, days) for days in range(16, 4, -1)]
        newest = two.forge(two.near, 1)
        result = two.asked("copy")
        assert [one["backup"] for one in result["deleted"]] == old[:6], "half, the oldest first"
        assert two.asked("list", "--from", "copy")["backups"][0]["backup"] == newest
        there = two.objects(far)
        assert sorted(key for key in there if "/" not in key) == sorted([*old[6:], newest])
        assert not any(name.split(".")[0] in key for name in old[:6] for key in there)
        asked = [one for one in between.requests if one.startswith("DELETE") or "?delete" in one]
        assert len(asked) == 3, "dumps with their roles, signatures, manifests"


def test_a_second_store_that_is_full_or_silent_is_an_alarm_and_never_stops_the_first(two):
    two.typed("backup")
    with HostileStore(two.near.server) as between:  # its own store, which is full
        full = two.near.client.create_bucket(Bucket=f"full-{two.far.bucket[-12:]}")
        assert full
        two.config.change(
            COPY_ENDPOINT_URL=between.endpoint_url,
            COPY_BUCKET_NAME=f"full-{two.far.bucket[-12:]}",
            COPY_CA_BUNDLE=None,
            COPY_ACCESS_KEY_ID=two.near.server.access_key,
            COPY_SECRET_ACCESS_KEY=two.near.server.secret_key,
        )
        between.play("full")
        done = two.typed("run")
        assert "COPY_FAILED" in done.stderr
        assert "the store is full" in done.stderr
        assert " OK test-server" in done.stderr.splitlines()[-1]
        assert two.alarms == ["COPY_FAILED"]
        told = two.refused(1, "copy", says=("the store is full", "backup_copy_to.retention_days"))
        assert "backup_s3" not in told
        assert two.typed("status", status=4).stdout.count("COPY_FAILED")
        between.be_honest()
        two.typed("run")
        assert two.alarms == []
    two.config.change(COPY_ENDPOINT_URL="http://127.0.0.1:9")
    told = two.refused(1, "copy", says=("the second store: ", "nothing answers"))
    assert "backup_copy_to.endpoint_url" in told


def test_a_copying_that_breaks_off_leaves_nothing_half(two):
    """In the middle of an object: no object; before its manifest: no backup. The next copying goes
    on, and sends no object again.
    """
    engine.fill_with_noise(two.database.server, two.database.name, 17)
    name = two.backup()
    bucket = f"other-{two.far.bucket[-12:]}"
    two.near.client.create_bucket(Bucket=bucket)
    two.far = SimpleNamespace(client=two.near.client, bucket=bucket, prefix=two.far.prefix)
    server = two.near.server
    with FaultProxy(server.endpoint_url) as between:
        two.config.change(
            COPY_ENDPOINT_URL=between.endpoint_url,
            COPY_BUCKET_NAME=bucket,
            COPY_CA_BUNDLE=None,
            COPY_ACCESS_KEY_ID=server.access_key,
            COPY_SECRET_ACCESS_KEY=server.secret_key,
        )
        cut = between.plan("status", "PUT", "partNumber=2", status=403, code="AccessDenied")
        two.refused(1, "copy", says=("second store", "does not allow it"))
        assert (cut.done, two.objects(two.far)) == (1, {})
        assert engine.unfinished(two.far.client, bucket) == []
        about = f"manifests/{name.split('.')[0]}.json"
        no = {"status": 403, "code": "AccessDenied"}
        cut = between.plan("status", "PUT", about, skip=1, **no)  # its signature comes first
        two.refused(1, "copy", says=(name,))
        assert cut.done == 1
        assert two.asked("list", "--from", "copy")["backups"][0]["state"] == "unproven"
        between.requests.clear()
        assert two.asked("copy")["copied"] == [name]
        assert not [line for line in between.requests if f"/{name}?partNumber" in line]
    assert two.objects(two.far) == two.objects(two.near)


def test_without_a_second_store_nothing_changes(two):
    two.config.change(**{name: None for name in two.config.values if name.startswith("COPY_")})
    two.typed("run")
    assert _listed(two.far) == []
    seen = two.asked("status")
    assert (seen["second_store"], seen["costs"]["copy_bytes"]) == ({}, 0)
    assert [one["copied"] for one in two.asked("list")["backups"]] == [None]
    two.refused(2, "copy", says=("There is no second store in the settings",))
    two.refused(
        2, "restore", "latest", "--from", "copy", says=("no second store", "backup_copy_to")
    )


def test_settings_that_name_half_a_store_or_the_first_are_refused(two):
    values = two.config.values
    two.config.write(COPY_SECRET_ACCESS_KEY=None)
    two.refused(2, "status", says=("named in part: COPY_SECRET_ACCESS_KEY is missing",))
    two.config.write(
        COPY_SECRET_ACCESS_KEY="x",
        COPY_ENDPOINT_URL=values["S3_ENDPOINT_URL"] + "/",
        COPY_BUCKET_NAME=values["S3_BUCKET_NAME"],
    )
    two.refused(2, "status", says=("The second store is the first",))


def test_a_copy_that_grows_old_is_told_by_the_watch(two):
    two.backup()
    two.typed("copy")
    kept = Path(two.config.settings.state_dir, "second-store.json")
    known = json.loads(kept.read_text())
    old = utc_now() - timedelta(hours=30)
    known["databases"][two.database.name]["newest"] = f"{old:%Y-%m-%dT%H:%M:%SZ}"
    kept.write_text(json.dumps(known))
    watched = two.typed("watch", status=4)
    assert two.alarms == ["COPY_STALE"]
    assert "COPY_STALE" in watched.stdout
    two.typed("copy")
    two.typed("watch")
    assert two.alarms == []
