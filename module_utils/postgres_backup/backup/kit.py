"""The server kit: the files that a lost server needs beside its database (compose file, ``.env``,
uploads), as a tar in the bucket.

It travels the same street as a backup: one stream through compression and encryption into parts, a
manifest written last, the same retention. Its objects lie under ``kit/``, so that they are never
taken for a backup.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from ..catalog import begun, journal, manifest, signed
from ..catalog.begun import Begun
from ..catalog.kit_paths import MOST_BYTES, MOST_MEMBERS, most_unpacked
from ..catalog.kits import Kit, findings_of, list_kits, manifest_key, root_of
from ..catalog.names import Layout
from ..catalog.retention import Policy, plan
from ..clock import format_time, format_timestamp, utc_now
from ..errors import PostgresBackupError, UsageError
from ..findings import Finding
from ..health import alarms, housekeeping, outcome
from ..health.alarm_kinds import Alarm, key
from ..job import Job
from ..machine import lock, signals
from ..s3 import calls
from ..s3.clock_skew import require_honest_clock
from ..s3.errors import may_fail
from ..settings import Settings
from ..stream.codec import Chain
from ..text import human_bytes, human_seconds
from . import sweep
from .kit_compare import Counts, compare, yardstick
from .kit_files import CHUNK, Packed, Packer, Told, walk
from .kit_roots import Roots, resolve
from .kit_withheld import Withheld

#: blocks of a tar are padded to this, bytes
_BLOCK = tarfile.BLOCKSIZE
#: findings of a kit that are alarms, until one has none of them
_SHORT = ("KIT_EMPTIED", "KIT_SHRUNK")


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
    """Save the files of ``backup_paths``. How that ends is told as an alarm, or ends one, whoever
    asked for it.

    :raises UsageError: there are no paths, one is missing or leads nowhere, there is more than a
        kit takes, or the kit would hold secrets in the clear.
    :raises PostgresBackupError: a file cannot be read, or the store refuses: there is no kit; what
        the store keeps of it all the same is among the error's findings, and removed by the next.
    """
    with outcome.noted(job.settings, "kit", "", check=job.check, again=job.again):
        result = _create(job)
    if not job.check:
        shrunk = [f for f in result["findings"] if f["code"] in _SHORT]
        raised = [Alarm(found["code"], "", found["message"]) for found in shrunk]
        looked_for = [key(code) for code in _SHORT]
        result["findings"] += alarms.settle(job.settings, looked_for, raised)
    return result


def _create(job: Job) -> KitResult:
    _require_permission(job.settings)
    roots = resolve(job.settings.paths)
    counts = _count(roots)
    job.store.check(may_list=False)
    if job.check:
        name = _name(job.settings, utc_now())
        kits = _others(job)
        short = _fell_short(kits, counts, roots)
        return _planned(job, name, counts, [*short, *findings_of(kits)])
    with lock.hold(job.settings, "kit", "kit"):
        began, started = time.monotonic(), utc_now()
        left = sweep.sweep(job, "", root_of(job.settings))
        taken_at = _claim_time(job)
        name = _name(job.settings, taken_at)
        kits = _others(job)
        short = _fell_short(kits, counts, roots)
        result = _planned(job, name, counts, [*short, *findings_of(kits)])
        job.progress.phase(
            f"saving {counts.files} files of the server ({human_bytes(counts.file_bytes)}) to "
            f"{name}"
        )
        one = _begun(job, result)
        left += begun.note(job.settings, "", one)
        written: list[str] = []
        try:
            described = _save(job, result, counts, roots, written)
            described["started_at"] = format_timestamp(started)
            described["fell_short"] = bool(short)
            written += [*one["beside"], one["manifest"]]
            body = manifest.dump_kit(described)
            unsigned = signed.put(job.store, calls.DESCRIBE, one["manifest"], body)
            signals.defer()  # it is there: nothing that comes now takes it back
        except BaseException as error:
            sweep.take_back(job, "", error, written, one["key"])
            raise
        left += begun.ended(job.settings, "", one["key"])
        result["findings"] += unsigned + left
        result["bytes"], result["sha256"] = described["bytes"], described["sha256"]
        result["seconds"] = round(time.monotonic() - began, 1)
        result["deleted"] = []
        if job.settings.prune_nightly:
            kit = Kit(name, result["key"], described["bytes"], taken_at, described, True)
            with may_fail(job.store.refused, calls.PRUNE_KITS):
                require_honest_clock(job.store)
                _prune(job, [kit, *kits], result["deleted"])
        result["findings"] += job.store.take_refused()
    result["findings"] += housekeeping.note(job.settings, "", result["findings"])
    job.progress.step(lines(result)[0])
    return result


def _others(job: Job) -> list[Kit]:
    """The kits that are there; none where the store does not show them."""
    with may_fail(job.store.refused, calls.OTHER_KITS):
        return list_kits(job.settings, job.store)
    return []


def _count(roots: Roots) -> Counts:
    """:raises UsageError: there is more than a kit takes."""
    counts = Counts()
    for entry in walk(roots.walked, Told()):
        counts.add(entry)
        if counts.files > MOST_MEMBERS or counts.file_bytes > MOST_BYTES:
            raise UsageError(
                f"The paths in backup_paths hold more than {MOST_MEMBERS} files or "
                f"{human_bytes(MOST_BYTES)}, which no kit takes",
                "Name less, and copy large uploads by a program that sends only what is new",
            )
    return counts


def _fell_short(kits: Sequence[Kit], counts: Counts, roots: Roots) -> list[Finding]:
    before = yardstick(kits, utc_now())
    return compare(before, counts, roots.paths) if before else []


def _begun(job: Job, result: KitResult) -> Begun:
    """What is remembered of it while it is written."""
    key = manifest_key(job.settings, result["kit"])
    sure = journal.is_claimed(job.store)
    return Begun(key=result["key"], manifest=key, beside=[key + signed.SUFFIX], alone=sure)


def _save(
    job: Job, result: KitResult, counts: Counts, roots: Roots, written: list[str]
) -> manifest.KitManifest:
    """Send the tar; what its manifest says, but for when it began.

    :param written: gets its key, once it is in the store.
    """
    told = Told()
    expected = counts.file_bytes + counts.files * 2 * _BLOCK
    with job.store.upload(result["key"], expected) as upload:
        packed = Packed(Chain("gzip", job.settings.age_recipients), upload, job.progress)
        with tarfile.open(
            fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK
        ) as tar:
            packer = Packer(tar, roots.paths, roots.targets, told, Withheld(job.settings))
            for entry in walk(roots.walked, told):
                packer.add(entry.path)
        packed.finish()
        _require_bounds(packed, packer.members)
        stored = upload.complete()
        written.append(result["key"])
    result["files"] = packer.members
    result["findings"] += told.findings()
    return {
        "name": result["kit"],
        "server": {"name": job.settings.server_name},
        "paths": list(roots.paths),
        "ended_at": format_timestamp(utc_now()),
        "files": packer.members,
        "file_bytes": counts.file_bytes,
        "bytes": stored.bytes,
        "tar_bytes": packed.bytes,
        "sha256": upload.sha256,
        "tar_sha256": packed.sha256,
        "encryption": {"kind": "age", "recipients": list(job.settings.age_recipients)}
        if job.settings.age_recipients
        else None,
        "folders": counts.remembered(roots.paths),
    }


def _require_bounds(packed: Packed, members: int) -> None:
    """:raises PostgresBackupError: its own restore would refuse the kit."""
    if members > MOST_MEMBERS or packed.bytes > most_unpacked(packed.packed_bytes):
        raise PostgresBackupError(
            f"Failed to save the kit: {members} files of {human_bytes(packed.bytes)} became "
            f"{human_bytes(packed.packed_bytes)}, and no restore unpacks that much",
            "Is there a file that is mostly empty (du -h --apparent-size)? Take it out of "
            "backup_paths",
        )


def _planned(job: Job, name: str, counts: Counts, findings: list[Finding]) -> KitResult:
    return {
        "changed": True,
        "kit": name,
        "key": root_of(job.settings) + name,
        "files": counts.files,
        "file_bytes": counts.file_bytes,
        "findings": findings,
    }


def _name(settings: Settings, at: datetime) -> str:
    name = f"postgres-backup-kit-{format_time(at)}.tar.gz"
    return f"{name}.age" if settings.age_recipients else name


def _claim_time(job: Job) -> datetime:
    """When a kit is said to be taken: so that no kit has its name, and no other server takes it at
    the same time.
    """

    def taken(at: datetime) -> bool:
        kits = f"{root_of(job.settings)}postgres-backup-kit-{format_time(at)}."
        found = job.store.list(kits, call=calls.IS_TAKEN)
        return any(item.key.startswith(kits) for item in found)

    layout = Layout(job.settings.s3_prefix)
    return journal.claim(job.store, layout, journal.KIT_BEGAN, {}, taken)


def _require_permission(settings: Settings) -> None:
    """:raises UsageError: nothing to save is named, or it would lie in the bucket in the clear
    without anybody having said so; or it is not the first store.
    """
    if settings.is_copy:
        raise UsageError(
            "A kit is saved into the first store, from where it is copied to the second",
            "Leave from_copy out",
        )
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


def _prune(job: Job, kits: Sequence[Kit], deleted: list[DeletedKit]) -> None:
    """The same retention as for backups, after a kit that went well.

    :param deleted: gets what went.
    """
    for decision in reversed(plan(kits, Policy.of(job.settings), utc_now(), _held)):
        if not decision.keep:
            kit, reason = decision.backup, decision.reason
            described = manifest_key(job.settings, kit.name)
            keys = [kit.key, *signed.each_after_its_signature([described])]
            job.store.delete(keys, calls.PRUNE_KITS)
            deleted.append({"kit": kit.name, "reason": reason})
            job.progress.step(f"kit: deleted {kit.name}: {reason}")


def _held(kit: Kit) -> str:
    """Why a kit stays whatever its age; empty where nothing holds it."""
    if kit.forged:
        return "its signature is wrong"
    return "its manifest is for another kit" if kit.problem else ""


def lines(result: KitResult) -> list[str]:
    """:func:`create_kit` for a person; the first line is what the log ends with."""
    if "bytes" not in result:
        told = f"kit: {result['kit']} would be made: {result['files']} files, "
        findings = [found["message"] for found in result["findings"]]
        return [told + human_bytes(result["file_bytes"]), *findings]
    return [
        (
            f"kit: {result['kit']} is in the bucket: {result['files']} files, "
            f"{human_bytes(result['bytes'])}, {human_seconds(result['seconds'])}"
        ),
        *(found["message"] for found in result["findings"]),
    ]
