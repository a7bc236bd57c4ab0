"""The server kit: the files that a lost server needs beside its database (compose file, ``.env``,
uploads), as a tar in the bucket.

It travels the same street as a backup: one stream through compression and encryption into parts, a
manifest written last, the same retention. Its objects lie under ``kit/``, so that they are never
taken for a backup.
"""

from __future__ import annotations

import tarfile
import time
from datetime import datetime
from typing import TypedDict

from ..catalog import journal, manifest
from ..catalog.kits import list_kits, manifest_key, root_of
from ..catalog.names import Layout
from ..catalog.retention import Policy, plan
from ..clock import format_time, format_timestamp, utc_now
from ..errors import UsageError
from ..findings import Finding
from ..job import Job
from ..machine import lock
from ..s3.clock_skew import require_honest_clock
from ..settings import Settings
from ..stream.codec import Chain
from ..text import human_bytes, human_seconds
from .kit_files import CHUNK, Packed, add, walk

#: blocks of a tar are padded to this, bytes
_BLOCK = tarfile.BLOCKSIZE


class DeletedKit(TypedDict):
    kit: str
    reason: str


class _Planned(TypedDict):
    changed: bool
    kit: str
    key: str
    files: int
    file_bytes: int
    findings: list[Finding]


class KitResult(_Planned, total=False):
    """A server kit; of one that is only planned (``check``) no more is known than the first six."""

    bytes: int
    sha256: str
    seconds: float
    deleted: list[DeletedKit]


def create_kit(job: Job) -> KitResult:
    """Save the files of ``backup_paths``.

    :raises UsageError: there are no paths, one is missing, or the kit would hold secrets in the
        clear.
    :raises PostgresBackupError: a file cannot be read, or the store refuses; nothing of the kit is
        left in the bucket.
    """
    _require_permission(job.settings)
    entries = list(walk(job.settings.paths))
    file_bytes = sum(size for _, size in entries)
    job.store.check()
    if job.check:
        return _planned(job, _name(job.settings, utc_now()), len(entries), file_bytes)
    with lock.hold(job.settings, "kit", "kit"):
        began, started = time.monotonic(), utc_now()
        name = _claim_name(job)
        result = _planned(job, name, len(entries), file_bytes)
        job.progress.phase(
            f"saving {len(entries)} files of the server ({human_bytes(file_bytes)}) to {name}"
        )
        with job.store.upload(result["key"], file_bytes + len(entries) * 2 * _BLOCK) as upload:
            packed = Packed(Chain("gzip", job.settings.age_recipients), upload, job.progress)
            with tarfile.open(
                fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK
            ) as tar:
                for path, _ in entries:
                    result["findings"] += add(tar, path)
            packed.finish()
            stored = upload.complete()
        described: manifest.KitManifest = {
            "name": name,
            "server": {"name": job.settings.server_name},
            "paths": list(job.settings.paths),
            "started_at": format_timestamp(started),
            "ended_at": format_timestamp(utc_now()),
            "files": len(entries),
            "file_bytes": file_bytes,
            "bytes": stored.bytes,
            "tar_bytes": packed.bytes,
            "sha256": upload.sha256,
            "tar_sha256": packed.sha256,
            "encryption": {"kind": "age", "recipients": list(job.settings.age_recipients)}
            if job.settings.age_recipients
            else None,
        }
        job.store.put(
            manifest_key(job.settings, name), manifest.dump(described), "application/json"
        )
        result["bytes"], result["sha256"] = stored.bytes, upload.sha256
        result["seconds"] = round(time.monotonic() - began, 1)
        result["deleted"] = []
        if job.settings.prune_nightly:
            require_honest_clock(job.store)
            result["deleted"] = _prune(job)
    job.progress.step(lines(result)[0])
    return result


def _planned(job: Job, name: str, files: int, file_bytes: int) -> KitResult:
    return {
        "changed": True,
        "kit": name,
        "key": root_of(job.settings) + name,
        "files": files,
        "file_bytes": file_bytes,
        "findings": [],
    }


def _name(settings: Settings, at: datetime) -> str:
    name = f"postgres-backup-kit-{format_time(at)}.tar.gz"
    return f"{name}.age" if settings.age_recipients else name


def _claim_name(job: Job) -> str:
    """A name that no kit has, and that no other server takes at the same time."""

    def taken(at: datetime) -> bool:
        kits = f"{root_of(job.settings)}postgres-backup-kit-{format_time(at)}."
        return any(job.store.list(kits))

    layout = Layout(job.settings.s3_prefix)
    return _name(job.settings, journal.claim(job.store, layout, journal.KIT_BEGAN, {}, taken))


def _require_permission(settings: Settings) -> None:
    """:raises UsageError: nothing to save is named, or it would lie in the bucket in the clear
    without anybody having said so.
    """
    if not settings.paths:
        raise UsageError(
            "No files are named for the kit",
            "List them in backup_paths: the compose file, .env, uploads",
        )
    if not settings.age_recipients and not settings.kit_plain:
        raise UsageError(
            "The kit holds secrets (.env), and nothing says whom to encrypt it for",
            "Set backup_age_recipients (age-keygen makes a key pair), or backup_kit_plain: true "
            "to store it in the clear",
        )


def _prune(job: Job) -> list[DeletedKit]:
    """The same retention as for backups, after a kit that went well."""
    deleted: list[DeletedKit] = []
    kits = list_kits(job.settings, job.store)
    for decision in reversed(plan(kits, Policy.of(job.settings), utc_now())):
        if not decision.keep:
            kit, reason = decision.backup, decision.reason
            job.store.delete([kit.key, manifest_key(job.settings, kit.name)])
            deleted.append({"kit": kit.name, "reason": reason})
            job.progress.step(f"kit: deleted {kit.name}: {reason}")
    return deleted


def lines(result: KitResult) -> list[str]:
    """:func:`create_kit` for a person; the first line is what the log ends with."""
    if "bytes" not in result:
        told = f"kit: {result['kit']} would be made: {result['files']} files, "
        return [told + human_bytes(result["file_bytes"])]
    return [
        (
            f"kit: {result['kit']} is in the bucket: {result['files']} files, "
            f"{human_bytes(result['bytes'])}, {human_seconds(result['seconds'])}"
        ),
        *(found["message"] for found in result["findings"]),
    ]
