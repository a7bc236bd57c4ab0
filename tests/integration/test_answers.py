"""Every command against every answer that a store should not give: the exit status is that of the
contract, what failed is one sentence, nothing is asked for ever, and nothing is left behind.

``make test`` takes a sample with a fixed seed; ``make gameday`` all of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from postgres_backup.cli.commands import COMMANDS
from postgres_backup.s3 import seen
from tests.integration import engine
from tests.integration.restoring import databases_of, rows_of
from tests.services.hostile_store import ANSWERS, FOREVER, HostileStore

#: what a command is tried with; one that is not here is typed without arguments
TYPED: dict[str, tuple[str, ...]] = {
    "backup": ("backup", "backup --schema-only"),
    "list": ("list", "list --partial", "list --from copy"),
    "copy": ("copy", "copy --check"),
    "restore": (
        "restore latest",
        "restore latest --check",
        "restore NEWEST --in-place",
        "restore latest --tables goods",
        "restore OLDER --as looked_at --keep-days 1",
        "restore latest --from copy",
    ),
    "drill": ("drill latest --fast",),
    "undo-restore": ("undo-restore --check",),
    "prune": ("prune", "prune --check"),
    "verify": ("verify latest", "verify OLDER"),
    "adopt": ("adopt --yes", "adopt --check"),
    "key": ("key --check",),
    "restore-kit": ("restore-kit latest --to FOLDER",),
    "history": ("history --days 30",),
}
#: requests for which an answer is given, where it passes: what is tried again goes well then
PASSING = {
    "failing": 2,
    "broken": 2,
    "broken early": 2,
    "error in 200": 1,
    "token forgotten": FOREVER,
    "spoiled": 1,
}
#: an answer that is given once, and one that is given always
ALSO_ONCE = ("damaged", "web page", "nothing", "garbage", "chunked", "packed on the way", "denied")
#: as many requests as no command makes of a bucket like this one
MOST_REQUESTS = 500
#: seconds, of a machine that does much else; what is tried again waits in between
MOST_SECONDS = 120
#: what a command says where it could not clear up
NAMED = ("LEFT_BEHIND", "UPLOAD_NOT_ABORTED", "UPLOADS_NOT_SWEPT", "CANARY_LEFT")


@dataclasses.dataclass(frozen=True)
class Case:
    """One command, while the store answers so."""

    typed: str
    answer: str
    times: int
    skip: int = 0

    def __str__(self) -> str:
        some = "" if self.times == FOREVER else f" x{self.times} after {self.skip}"
        return f"{self.typed} | {self.answer}{some}"


def cases() -> list[Case]:
    """All of them."""
    typed = [line for name in COMMANDS for line in TYPED.get(name, (name,))]
    answers = [(name, PASSING.get(name, FOREVER), 0) for name in ANSWERS]
    answers += [(name, 1, skip) for name in ALSO_ONCE for skip in (1, 4, 9)]
    return [Case(line, *answer) for line in typed for answer in answers]


def sample(count: int, seed: int) -> list[Case]:
    """So many: each command and each answer is among them."""
    chance = random.Random(seed)
    shuffled = cases()
    chance.shuffle(shuffled)
    least: dict[str, int] = {}
    chosen: list[Case] = []
    for case in sorted(shuffled, key=lambda case: chance.random()):
        seen = (least.get(case.typed, 0), least.get(case.answer, 0))
        if len(chosen) < count and min(seen) == 0 and max(seen) < 4:
            chosen.append(case)
            for word in (case.typed, case.answer):
                least[word] = least.get(word, 0) + 1
    return chosen


class World:
    """A bucket with backups of each kind, a database, and a store between that may be told to lie.

    :ivar objects: what lies in the bucket before each case.
    """

    def __init__(self, config, database, s3, s3_client, bucket, folder: Path) -> None:
        self.config, self.database, self.client, self.bucket = config, database, s3_client, bucket
        self.second_bucket = config.values["COPY_BUCKET_NAME"]
        self.server, self.folder, self.s3 = database.server, folder, s3
        now = datetime.now(timezone.utc).replace(microsecond=0)
        self.older = engine.forge(s3_client, bucket, now - timedelta(days=9))
        self._honest("backup", "--schema-only")
        self._honest("kit")
        first = engine.answer(self._honest("backup", "--json"))
        self.newest = engine.answer(self._honest("backup", "--json"))["backup"]
        self.second = first["backup"]
        self._honest("verify", "latest")
        self._honest("copy")
        # what is to be copied yet, and what was copied
        self.late = engine.answer(self._honest("backup", "--json"))["backup"]
        engine.forge(s3_client, bucket, now - timedelta(days=2), with_manifest=False)
        self.objects, self.copies = self._contents(), self._contents(self.second_bucket)
        self.rows = rows_of(self.server, database.name)
        self.databases = databases_of(self.server)
        self.state = {
            path: path.read_bytes()
            for path in Path(config.settings.state_dir).iterdir()
            if path.is_file() and path.suffix != ".lock" and path.name != seen.NAME
        }

    def _honest(self, *typed: str) -> subprocess.CompletedProcess:
        done = engine.run(self.config.path, *typed)
        assert done.returncode == 0, (typed, done.stdout, done.stderr)
        return done

    def _contents(self, bucket: str = "") -> dict[str, bytes]:
        bucket = bucket or self.bucket
        return {
            key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in engine.keys(self.client, bucket)
        }

    def as_it_was(self) -> None:
        """What the last case has changed is as it was."""
        self._bucket_as_it_was(self.bucket, self.objects)
        self._bucket_as_it_was(self.second_bucket, self.copies)
        for name in databases_of(self.server) - self.databases:
            self.server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        folder = Path(self.config.settings.state_dir)
        for path in folder.iterdir():
            if path.is_file() and path.suffix != ".lock" and path not in self.state:
                path.unlink()
        for path, data in self.state.items():
            path.write_bytes(data)

    def _bucket_as_it_was(self, bucket: str, objects: dict[str, bytes]) -> None:
        there = {
            item["Key"]: item["ETag"].strip('"')
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for item in page.get("Contents", [])
        }
        for key in there.keys() - objects.keys():
            self.client.delete_object(Bucket=bucket, Key=key)
        for key, body in objects.items():
            if there.get(key) != hashlib.md5(body).hexdigest():
                self.client.put_object(Bucket=bucket, Key=key, Body=body)
        uploads = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        for one in uploads:
            self.client.abort_multipart_upload(
                Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"]
            )

    def try_(self, case: Case, between: HostileStore) -> list[str]:
        """Everything that is not as it should be."""
        self.as_it_was()
        between.be_honest()
        between.play(case.answer, times=case.times, skip=case.skip)
        words = {"NEWEST": self.newest, "OLDER": self.second, "FOLDER": str(self.folder / "kit")}
        typed = [words.get(word, word) for word in case.typed.split()]
        try:
            done = engine.run(self.config.path, *typed, "--json", timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired as error:
            return [f"it took more than {error.timeout} s and {len(between.requests)} requests"]
        return [*self._told(done), *self._left(case, done, between)]

    def _told(self, done: subprocess.CompletedProcess) -> Iterator[str]:
        text = done.stdout + done.stderr
        if done.returncode not in (0, 1, 2, 3, 4):
            yield f"exit status {done.returncode}: {text[-600:]}"
        if "nexpectedly" in text or "Traceback" in text:
            yield f"a mistake of ours: {text[-900:]}"
        said = [line for line in done.stderr.splitlines() if line.startswith("postgres-backup: ")]
        told = said or [line for line in done.stderr.splitlines() if " FAILED " in line]
        if len(said) > 1 or (done.returncode in (1, 2, 3) and not told):
            yield f"not one sentence: {text[-600:]}"
        try:
            json.loads(done.stdout or "{}")
        except ValueError:
            yield f"not one JSON object: {done.stdout[-300:]}"
        if re.search(r"KeyError|ValueError|NoneType|ResponseParserError|<Error>", text):
            yield f"words that are not for a person: {text[-600:]}"

    def _left(
        self, case: Case, done: subprocess.CompletedProcess, between: HostileStore
    ) -> Iterator[str]:
        text, command = done.stdout + done.stderr, case.typed.split()[0]
        if len(between.requests) > MOST_REQUESTS:
            yield f"{len(between.requests)} requests"
        if engine.unfinished(self.client, self.bucket) and not any(w in text for w in NAMED):
            yield f"unfinished uploads, and no word of it: {text[-600:]}"
        there = self._contents()
        lost = self.objects.keys() - there.keys()
        if command in ("prune", "run", "watch"):  # the one that is past its time
            lost -= {key for key in lost if self.older.split(".")[0] in key}
        if lost:
            yield f"lost: {sorted(lost)}: {text[-600:]}"
        if spoiled := [k for k in self.objects if k in there and there[k] != self.objects[k]]:
            yield f"changed: {spoiled}"
        yield from self._left_in_the_second(command, done, text)
        new = [key for key in there.keys() - self.objects.keys() if "/journal/" not in key]
        if command == "backup" and done.returncode and new and not any(w in text for w in NAMED):
            yield f"left behind: {new}: {text[-600:]}"
        if command == "backup" and not done.returncode:
            yield from self._incomplete(new, there, text)
        databases = databases_of(self.server) - self.databases
        if kept := [name for name in databases if "_restore_" in name or "_drill_" in name]:
            yield f"databases: {kept}"
        if databases and done.returncode:
            yield f"databases although it failed: {databases}"
        if rows_of(self.server, self.database.name) != self.rows:
            yield "other rows than before"

    def _left_in_the_second(
        self, command: str, done: subprocess.CompletedProcess, text: str
    ) -> Iterator[str]:
        """Good copies stay as they are, and what has a manifest there is what it says."""
        there = self._contents(self.second_bucket)
        new = there.keys() - self.copies.keys()
        lost = {key for key in self.copies.keys() - there.keys() if self.older[:35] not in key}
        changed = [k for k in self.copies if k in there and there[k] != self.copies[k]]
        if lost or changed:
            yield f"in the second store lost {sorted(lost)}, changed {changed}: {text[-600:]}"
        if new and command not in ("copy", "run", "watch", "restore"):
            yield f"in the second store: {new}"
        for key in new:
            if key.endswith(".json") and "/manifests/" in key:
                described = json.loads(there[key])
                body = there.get(f"postgres-backup/{described['name']}", b"")
                if hashlib.sha256(body).hexdigest() != described["sha256"]:
                    yield f"a copy whose object is not what its manifest says: {key}"
        says = command == "copy" and not done.returncode and "--check" not in done.args
        if says and f"postgres-backup/{self.late}" not in there:
            yield f"it says that it has copied, and has not: {text[-600:]}"

    def _incomplete(self, new: list[str], there: dict[str, bytes], text: str) -> Iterator[str]:
        """A backup that says that it is there has a manifest, and the object is what that says."""
        manifests = [key for key in new if key.endswith(".json")]
        if len(manifests) != 1:
            yield f"a backup without a manifest: {new}: {text[-600:]}"
            return
        described = json.loads(there[manifests[0]])
        folder = manifests[0].replace("/manifests/", "/").rpartition("/")[0]
        body = there.get(f"{folder}/{described['name']}", b"")
        if hashlib.sha256(body).hexdigest() != described["sha256"]:
            yield "a backup whose object is not what its manifest says"


@pytest.fixture
def world(new_database, new_config, s3, s3_client, bucket, new_bucket, tmp_path) -> World:
    database = new_database()
    database.execute(
        "CREATE TABLE goods AS SELECT i AS id, md5(i::text) FROM generate_series(1, 300) i"
    )
    paper = tmp_path / "compose.yml"
    paper.write_text("services: {}\n")
    config = new_config(
        database,
        s3,
        bucket,
        **database.as_superuser,
        KIT_PLAIN="true",
        BACKUP_PATHS=str(paper),
        RETENTION_DAYS="3",
        COPY_ENDPOINT_URL=s3.endpoint_url,
        COPY_BUCKET_NAME=new_bucket(s3),
        COPY_ACCESS_KEY_ID=s3.access_key,
        COPY_SECRET_ACCESS_KEY=s3.secret_key,
    )
    return World(config, database, s3, s3_client, bucket, tmp_path)


def tried(world: World, chosen: list[Case]) -> None:
    wrong: dict[str, list[str]] = {}
    with HostileStore(world.s3) as between:
        address = between.endpoint_url
        world.config.change(S3_ENDPOINT_URL=address, COPY_ENDPOINT_URL=address)
        for case in chosen:
            began = time.monotonic()
            if found := world.try_(case, between):
                wrong[str(case)] = found
            spent = time.monotonic() - began
            print(f"{spent:5.1f} s {len(between.requests):3} requests: {case}: {found}", flush=True)
    told = "\n".join(f"{case}: {one}" for case, found in wrong.items() for one in found)
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n{told}"


def test_a_sample_of_commands_and_answers(world):
    tried(world, sample(32, seed=19))


@pytest.mark.gameday
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_answer(world, name):
    tried(world, [case for case in cases() if case.typed.split()[0] == name])
