"""The server kit: the files that a lost server needs beside its database (compose file, ``.env``,
uploads), as a tar in the bucket.

It travels the same street as a backup: one stream through compression and encryption into parts, a
manifest written last, the same retention. Its objects lie under ``kit/``, so that they are never
taken for a backup.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TypedDict

from ..catalog import journal, manifest
from ..catalog.kits import list_kits, root_of
from ..catalog.names import Layout
from ..catalog.retention import Policy, plan
from ..clock import format_time, format_timestamp, utc_now
from ..errors import PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..job import Job
from ..machine import lock
from ..machine.progress import Progress
from ..s3.clock_skew import require_honest_clock
from ..s3.store import Store
from ..settings import Settings
from ..stream.codec import Chain
from ..text import human_bytes, human_seconds

#: bytes read from a file at once
_CHUNK = 1 << 20
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
    require_permission(job.settings)
    entries = list(_walk(job.settings.paths))
    expected = sum(size for _, size in entries)
    name = _name(job.settings, utc_now())
    result = {
        "changed": True,
        "kit": name,
        "key": root_of(job.settings) + name,
        "files": len(entries),
        "file_bytes": expected,
        "findings": [],
    }
    job.store.check()
    if job.check:
        return result
    with lock.hold(job.settings, "kit", "kit"):
        began, started = time.monotonic(), utc_now()
        name = _claim_name(job.settings, job.store)
        result |= {"kit": name, "key": root_of(job.settings) + name}
        job.progress.phase(
            f"saving {len(entries)} files of the server ({human_bytes(expected)}) to {name}"
        )
        findings: list[Finding] = []
        with job.store.upload(result["key"], expected + len(entries) * 2 * _BLOCK) as upload:
            pipe = _Packed(Chain("gzip", job.settings.age_recipients), upload, job.progress)
            with tarfile.open(
                fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK
            ) as tar:
                for path, _ in entries:
                    findings += _add(tar, path)
            pipe.finish()
            stored = upload.complete()
        facts = {
            "name": name,
            "server": {"name": job.settings.server_name},
            "paths": list(job.settings.paths),
            "started_at": format_timestamp(started),
            "ended_at": format_timestamp(utc_now()),
            "files": len(entries),
            "file_bytes": expected,
            "bytes": stored.bytes,
            "tar_bytes": pipe.bytes,
            "sha256": upload.sha256,
            "tar_sha256": pipe.sha256,
            "encryption": {"kind": "age", "recipients": list(job.settings.age_recipients)}
            if job.settings.age_recipients
            else None,
        }
        job.store.put(
            f"{root_of(job.settings)}{name.split('.')[0]}.json",
            manifest.dump(facts),
            "application/json",
        )
        seconds = round(time.monotonic() - began, 1)
        pruned = []
        if job.settings.prune_nightly:
            require_honest_clock(job.store)
            pruned = _prune(job.settings, job.store, job.progress)
    job.progress.step(
        f"kit: {name} is in the bucket: {len(entries)} files, {human_bytes(stored.bytes)}, {human_seconds(seconds)}"
    )
    return result | {
        "bytes": stored.bytes,
        "sha256": upload.sha256,
        "seconds": seconds,
        "findings": findings,
        "deleted": pruned,
    }


def _name(settings: Settings, moment: datetime) -> str:
    return f"postgres-backup-kit-{format_time(moment)}.tar.gz" + (
        ".age" if settings.age_recipients else ""
    )


def _claim_name(settings: Settings, store: Store) -> str:
    """A name that no kit has, and that no other server takes at the same time."""

    def taken(at: datetime) -> bool:
        kits = f"{root_of(settings)}postgres-backup-kit-{format_time(at)}."
        return any(store.list(kits))

    layout = Layout(settings.s3_prefix)
    return _name(settings, journal.claim(store, layout, journal.KIT_BEGAN, {}, taken))


def require_permission(settings: Settings) -> None:
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
            "Set backup_age_recipients (age-keygen makes a key pair), or backup_kit_plain: true to store it in the clear",
        )


def _walk(paths: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every file, folder and link below the paths, with its size, folders first.

    :raises UsageError: a path is relative or is not there.
    :raises PostgresBackupError: a folder may not be read.
    """
    for path in paths:
        if not os.path.isabs(path):
            raise UsageError(
                f"The path {path!r} in backup_paths is not absolute",
                "Write it from the root: /srv/app/.env",
            )
        if not os.path.lexists(path):
            raise UsageError(
                f"The path {path} in backup_paths does not exist",
                "Correct backup_paths, or make it",
            )
        if os.path.islink(path) or not os.path.isdir(path):
            yield path, os.lstat(path).st_size
            continue
        for folder, folders, files in os.walk(path, onerror=_refuse):
            yield folder, 0
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in sorted(files + links):
                whole = os.path.join(folder, name)
                facts = os.lstat(whole)
                if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
                    yield whole, facts.st_size if stat.S_ISREG(facts.st_mode) else 0
            folders.sort()


def _refuse(error: OSError) -> None:
    raise PostgresBackupError(
        f"Failed to read {error.filename}: {error.strerror}",
        f"Let the backup user read it: setfacl -R -m u:postgres-backup:rX {error.filename}",
    )


def _add(tar: tarfile.TarFile, path: str) -> list[dict]:
    """One entry. An application goes on writing: what is gone by now is left out, what shrank is
    filled up, and both are findings.
    """
    try:
        info = tar.gettarinfo(path, arcname=path)
        if not info.isreg():
            tar.addfile(info)
            return []
        with open(path, "rb") as file:
            exact = _Exactly(file, info.size)
            tar.addfile(info, exact)
    except FileNotFoundError:
        return [finding("FILE_GONE", f"{path} was removed while the kit was made")]
    except OSError as error:
        error.filename = path
        _refuse(error)
    return [finding("FILE_CHANGED", f"{path} changed while it was read")] if exact.short else []


class _Exactly(io.RawIOBase):
    """A file that gives as many bytes as its header in the tar says, whatever happens to it
    meanwhile.
    """

    def __init__(self, file, size: int) -> None:
        self._file, self._left, self.short = file, size, False

    def read(self, count: int = -1) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        data = self._file.read(wanted)
        if len(data) < wanted:
            self.short = True
            data += bytes(wanted - len(data))
        self._left -= wanted
        return data


class _Packed(io.RawIOBase):
    """Takes a tar, passes it on through the chain into the upload."""

    def __init__(self, chain: Chain, upload, progress: Progress) -> None:
        self._chain, self._upload, self._progress = chain, upload, progress
        self._hash, self.bytes = hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._hash.update(data)
        self.bytes += len(data)
        self._upload.write(self._chain.write(bytes(data)))
        self._progress.advance(len(data))
        return len(data)

    def finish(self) -> None:
        self._upload.write(self._chain.finish())

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _prune(settings: Settings, store: Store, progress: Progress) -> list[dict]:
    """The same retention as for backups, after a kit that went well."""
    deleted = []
    for decision in reversed(
        plan(list_kits(settings, store), Policy.of(settings), datetime.now(timezone.utc))
    ):
        if not decision.keep:
            store.delete(
                [
                    decision.backup.key,
                    f"{root_of(settings)}{decision.backup.name.split('.')[0]}.json",
                ]
            )
            deleted.append({"kit": decision.backup.name, "reason": decision.reason})
            progress.step(f"kit: deleted {decision.backup.name}: {decision.reason}")
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
