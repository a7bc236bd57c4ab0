"""The way back of a backup: out of the store, decrypted, unpacked, held against its manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import random
from datetime import datetime, timezone

import pyrage
import pytest

from postgres_backup.catalog.backups import Backup, Catalog
from postgres_backup.catalog.names import BackupName
from postgres_backup.errors import BadBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.s3.download import Download
from postgres_backup.s3.store import Store
from postgres_backup.stream.codec import Chain
from postgres_backup.verify import reader as reader_room
from postgres_backup.verify.ranges import Range
from postgres_backup.verify.reader import BackupReader
from tests.integration import engine
from tests.services.proxy import FaultProxy

TAKEN_AT = datetime(2026, 1, 27, tzinfo=timezone.utc)


@pytest.fixture
def config(new_config, s3, bucket):
    return new_config(engine.NO_SERVER, s3, bucket)


def read(job: Job, backup: Backup) -> tuple[bytes, BackupReader]:
    chunks: list[bytes] = []
    reader = BackupReader(job, backup)
    reader.feed(chunks.append)
    return b"".join(chunks), reader


@pytest.mark.parametrize(
    ("suffix", "compression"), [(".sql.gz", "gzip"), (".sql.zst", "zstd"), (".sql", "none")]
)
def test_the_dump_comes_out_as_it_went_in(config, s3_client, bucket, suffix, compression):
    chain = Chain(compression)
    body = chain.write(engine.SMALL_DUMP) + chain.finish()
    engine.forge(s3_client, bucket, TAKEN_AT, suffix=suffix, body=body)
    progress = Progress()
    job = Job(config.settings, progress=progress)
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    dump, reader = read(job, backup)
    assert dump == engine.SMALL_DUMP
    assert reader.sha256 == backup.manifest["sha256"]
    assert progress.done == len(body)


def test_an_object_that_was_swapped_is_found_out(config, s3_client, bucket):
    body = engine.SMALL_DUMP
    name = engine.forge(s3_client, bucket, TAKEN_AT, suffix=".sql", body=body)
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=body.swapcase())
    job = Job(config.settings)
    with pytest.raises(BadBackupError, match="is not the object that was uploaded") as caught:
        read(job, Catalog(job.settings, job.store, job.database).resolve("latest"))
    assert [f["code"] for f in caught.value.findings] == ["OBJECT_ALTERED"]


@pytest.mark.parametrize("schema", [1, 2])
def test_of_what_is_signed_nothing_is_used_before_it_was_looked_at(
    config, s3_client, bucket, schema
):
    """Without the hashes of its pieces too: then it is read twice."""
    body = engine.SMALL_DUMP
    name = engine.forge(
        s3_client, bucket, TAKEN_AT, suffix=".sql", body=body, change={"schema": schema}
    )
    job, used = Job(config.settings), []
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    assert backup.trusted
    assert "parts" not in backup.manifest
    assert read(job, backup)[0] == body
    harmed = body[:-2] + b"x\n"
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=harmed)
    with pytest.raises(BadBackupError, match="is not the object that was uploaded"):
        BackupReader(job, backup).feed(used.append)
    assert used == []


def test_each_piece_is_looked_at_before_it_is_used(config, s3_client, bucket):
    """Altered in the first, the second, the last: no more than those before it is used."""
    body, size = engine.SMALL_DUMP, 100
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    parts = [{"bytes": len(one), "sha256": hashlib.sha256(one).hexdigest()} for one in pieces]
    name = engine.forge(
        s3_client, bucket, TAKEN_AT, suffix=".sql", body=body, change={"parts": parts}
    )
    job = Job(config.settings)
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    assert read(job, backup)[0] == body
    for number in range(len(pieces)):
        used: list[bytes] = []
        at = number * size
        harmed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=harmed)
        with pytest.raises(BadBackupError) as caught:
            BackupReader(job, backup).feed(used.append)
        assert [f["code"] for f in caught.value.findings] == ["OBJECT_ALTERED"]
        assert body[:at].startswith(b"".join(used))


def test_an_encrypted_one_takes_its_key(config, s3_client, bucket):
    pair = pyrage.x25519.Identity.generate()
    chain = Chain("gzip", (str(pair.to_public()),))
    body = chain.write(engine.SMALL_DUMP) + chain.finish()
    name = BackupName(TAKEN_AT, encrypted=True)
    s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=body)
    job = Job(config.settings)
    backup = Catalog(job.settings, job.store, job.database).resolve(str(name))
    with pytest.raises(UsageError, match="is encrypted and no private key was given"):
        read(job, backup)
    dump, _ = read(Job(config.settings, identities=(str(pair),)), backup)
    assert dump == engine.SMALL_DUMP


# --- piece by piece ---

PIECES = 12
#: rows that no compression makes much of
NOISE = engine.SMALL_DUMP.replace(
    b"\n1\n2\n", b"\n%b\n" % random.Random(11).randbytes(2_500_000).hex("\n", 60).encode()
)


def packed(kind: str, pair: pyrage.x25519.Identity) -> tuple[str, bytes]:
    """Suffix and body of a backup of ``NOISE``."""
    suffix = {"plain": ".sql", "gzip": ".sql.gz", "zstd": ".sql.zst", "age": ".sql.gz"}[kind]
    chain = Chain(
        {".sql": "none", ".sql.gz": "gzip", ".sql.zst": "zstd"}[suffix],
        (str(pair.to_public()),) if kind == "age" else (),
    )
    return suffix, chain.write(NOISE) + chain.finish()


@pytest.fixture(params=["plain", "gzip", "zstd", "age"])
def in_pieces(request, config, s3_client, bucket):
    """A backup of several pieces: whoever reads it, its key, and the bytes of the object."""
    pair = pyrage.x25519.Identity.generate()
    suffix, body = packed(request.param, pair)
    size = -(-len(body) // PIECES)
    parts = [
        {"bytes": len(piece), "sha256": hashlib.sha256(piece).hexdigest()}
        for piece in (body[at : at + size] for at in range(0, len(body), size))
    ]
    assert len(parts) == PIECES
    engine.forge(
        s3_client,
        bucket,
        TAKEN_AT,
        suffix=suffix,
        body=body,
        dump=NOISE,
        encrypted=request.param == "age",
        change={"parts": parts},
    )
    job = Job(config.settings, identities=(str(pair),))
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    return job, backup, body, parts


def altered(s3_client, bucket, backup: Backup, body: bytes, at: int) -> None:
    harmed = bytearray(body)
    harmed[at] ^= 1
    s3_client.put_object(Bucket=bucket, Key=backup.key, Body=bytes(harmed))


def test_no_byte_of_an_altered_piece_is_used(in_pieces, s3_client, bucket):
    """What is on its way between the check and the sink when the error comes may go with it; of
    what came before a piece that is far behind, most is there.
    """
    job, backup, body, parts = in_pieces
    ends = list(itertools.accumulate(part["bytes"] for part in parts))
    for number in (1, 2, 7, PIECES):
        begins = ends[number - 1] - parts[number - 1]["bytes"]
        altered(s3_client, bucket, backup, body, (begins + ends[number - 1]) // 2)
        given = bytearray()
        with pytest.raises(BadBackupError, match=f"piece {number} of {PIECES} ") as caught:
            BackupReader(job, backup).feed(given.extend)
        assert [found["code"] for found in caught.value.findings] == ["OBJECT_ALTERED"]
        assert caught.value.exit_status == 4
        assert NOISE.startswith(bytes(given))
        # a packed byte holds at least as much as it is itself, but hexadecimal packs to a half
        assert len(given) <= len(NOISE) * begins / len(body) * 1.05
        assert len(given) >= len(NOISE) * begins / len(body) * 0.95 - 1_000_000
        if number == 1:
            assert not given
            with pytest.raises(BadBackupError, match=f"piece 1 of {PIECES} "):
                BackupReader(job, backup).look()
        elif number > 2:  # what decrypts gathers more than these small pieces hold
            BackupReader(job, backup).look()
    s3_client.put_object(Bucket=bucket, Key=backup.key, Body=body)
    assert read(job, backup)[0] == NOISE
    fewer = dataclasses.replace(
        backup, described={**backup.manifest, "parts": parts[:-1]}, read=None
    )
    given = bytearray()
    with pytest.raises(BadBackupError, match="what follows its last piece"):
        BackupReader(job, fewer).feed(given.extend)
    assert len(given) < len(NOISE)


@pytest.mark.parametrize("in_pieces", ["gzip"], indirect=True)
def test_a_link_that_breaks_within_a_piece_is_taken_up_again(in_pieces, s3, config):
    job, backup, _, parts = in_pieces
    with FaultProxy(s3.endpoint_url) as between:
        at = parts[0]["bytes"]
        cuts = [
            between.plan("cut_response", "GET", str(backup.name), after=after)
            for after in (at + at // 3, at // 5)
        ]
        job = Job(config.change(S3_ENDPOINT_URL=between.endpoint_url))
        dump, reader = read(job, backup)
    assert dump == NOISE
    assert reader.sha256 == backup.manifest["sha256"]
    assert [cut.done for cut in cuts] == [1, 1]


@pytest.mark.parametrize("in_ranges", [False, True])
@pytest.mark.parametrize("in_pieces", ["gzip"], indirect=True)
def test_a_sink_that_fails_leaves_no_connection_behind(in_pieces, in_ranges, monkeypatch):
    """Not until somebody forgets the error, which holds all that was under way."""
    job, backup, body, _ = in_pieces
    opened: list[Download] = []
    real = Store.download

    def download(*args):
        opened.append(real(*args))
        return opened[-1]

    def refuse(chunk: bytes) -> None:
        raise UsageError("no more")

    monkeypatch.setattr(Store, "download", download)
    monkeypatch.setattr(reader_room, "ranges", lambda manifest: [Range(0, len(body), "")])
    wants = (lambda table: True) if in_ranges else None
    with pytest.raises(UsageError) as held:
        BackupReader(job, backup).feed(refuse, wants=wants)
    assert held.value.message == "no more"
    assert [inspect.getgeneratorstate(one._chunks) for one in opened] == ["GEN_CLOSED"]


@pytest.mark.parametrize("in_pieces", ["gzip"], indirect=True)
def test_an_altered_piece_ends_a_command_with_its_name(in_pieces, config, s3_client, bucket):
    _, backup, body, parts = in_pieces
    altered(s3_client, bucket, backup, body, parts[0]["bytes"] * 3)
    done = engine.run(config.path, "verify", "latest")
    engine.failed_well(done, 4, f"piece 4 of {PIECES}", str(backup.name), "OBJECT_ALTERED")
