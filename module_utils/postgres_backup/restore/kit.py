"""Put the files of a server kit back, after all of it was read and compared with its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

from ..catalog import dated, kits
from ..catalog.kit_paths import MOST_BYTES, Parts, Paths, most_unpacked, parts_of
from ..catalog.kits import Kit
from ..catalog.names import is_latest
from ..catalog.signed import Believed
from ..errors import BadBackupError, PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..job import Job
from ..settings import Settings
from ..stream import codec
from ..stream.archive import Archive, ArchiveError
from ..text import human_bytes, human_seconds, nearest, printable
from .kit_files import Staged
from .kit_folders import Look
from .kit_members import Judge, Owner, Refused, owner_findings
from .trust import require

#: paths that a manifest may name
_MOST_PATHS = 1000


class KitResult(TypedDict):
    """A kit that was put back.

    ``files``: files, folders and links in it. ``owners``: those whose numbers differ; empty where
    owners do not come back. ``unpacked_bytes``: of the disk that they take.
    """

    changed: bool
    kit: str
    key: str
    bytes: int
    files: int | None
    unpacked_bytes: int
    owners: list[Owner]
    findings: list[Finding]
    seconds: float
    sha256: str


def restore_kit(job: Job, wanted: str, to: str = "/") -> KitResult:
    """Put the files of a kit back, with their modes and, as root, their owners.

    The kit is read twice through the network. First all of it is looked at: the object's hash, each
    member, and what lies in the target folder. Only then is it read to be written, each file beside
    its place, and when the end was as the first time, everything goes into its place. In check mode
    it is looked at and no more, so that it says what a real one would refuse.

    :param wanted: a name, or ``latest``.
    :param to: the folder that stands for ``/``.
    :raises BadBackupError: cut, altered, not decryptable, or with members that no kit of ours has;
        nothing of it is left.
    :raises UsageError: there is no such kit, or something is in the way in the target folder.
    """
    job.store.check()
    everybodys = kits.find_kits(job.settings, job.store)
    chosen = choose(job.settings, everybodys, wanted)
    server = chosen.manifest["server"]["name"] if chosen.manifest else ""
    believed = Believed.by(job.settings)
    if chosen.problem and not chosen.forged:
        raise chosen.problem
    findings = require(job, believed, chosen.name, server, chosen.standing)
    if chosen.encrypted:
        job.require_identities(chosen.name)
    began, folder = time.monotonic(), os.path.realpath(to)
    paths = paths_of(chosen)
    job.progress.phase(f"reading {chosen.name}")
    judge = Judge(paths)
    unpacked_bytes, sha256 = _look(job, chosen, folder, judge)
    if not job.check:
        job.progress.phase(f"putting the files of {chosen.name} back")
        _put_back(job, chosen, folder, judge.sources, sha256)
    owners = judge.owners() if os.geteuid() == 0 else []
    return {
        "changed": True,
        "kit": chosen.name,
        "key": chosen.key,
        "bytes": chosen.bytes,
        "files": judge.count,
        "unpacked_bytes": unpacked_bytes,
        "owners": owners,
        "findings": [
            *findings,
            *judge.findings(),
            *owner_findings(owners),
            *kits.findings_of(everybodys),
        ],
        "seconds": round(time.monotonic() - began, 1),
        "sha256": sha256,
    }


def read_kit(job: Job, kit: Kit) -> Iterator[Parts]:
    """Read a kit to its end, at the job's pace: it is what its manifest says, and one of ours could
    be like that.

    :return: where each of its members would lie; those before an error are nothing.
    :raises BadBackupError: it is not.
    :raises UsageError: it is encrypted, and no key for it is here.
    """
    if kit.encrypted:
        job.require_identities(kit.name)
    job.progress.phase(f"reading {kit.name}")
    judge = Judge(paths_of(kit))
    with _read(job, kit) as reading:
        for member in reading.archive:
            yield judge.look(member).parts


def choose(settings: Settings, everybodys: Sequence[Kit], wanted: str) -> Kit:
    """The kit of that name, or the latest that a restore takes; one with a ``problem`` too.

    :raises UsageError: there is none.
    """
    ours = [kit for kit in everybodys if kit.ours]
    # a forged one too: whoever asks for the latest must hear of it
    vouched = [kit for kit in ours if not kit.passed_over or kit.forged]
    for kit in dated.timely(vouched) if is_latest(wanted) else ours:
        if is_latest(wanted) or wanted == kit.name:
            return kit
    for kit in everybodys:
        if kit.name == wanted and (kit.problem or kit.forged):
            return kit
    near = nearest(wanted, [kit.name for kit in ours])
    others = sorted({kit.manifest["server"]["name"] for kit in everybodys if kit.manifest})
    hint = (
        f"The nearest: {', '.join(near)}"
        if near
        else f"There are kits of {', '.join(others)}: set backup_server_name"
        if others
        else "None was ever saved"
    )
    raise UsageError(f"There is no kit {wanted!r} of {settings.server_name} in the bucket", hint)


def paths_of(kit: Kit) -> Paths:
    """What a kit was made of.

    :raises BadBackupError: the manifest does not say.
    """
    named = kit.manifest.get("paths", []) if kit.manifest else []
    paths = [parts_of(path) for path in named if path.startswith("/")]
    whole = [parts for parts in paths if parts is not None]
    if not named or len(whole) < len(named) or len(named) > _MOST_PATHS:
        raise _refused(kit, "its manifest does not say which paths it was made of")
    return Paths(whole)


@dataclasses.dataclass
class _Reading:
    archive: Archive
    #: of the object, at the end
    sha256: str = ""


@contextlib.contextmanager
def _read(job: Job, kit: Kit) -> Iterator[_Reading]:
    """The block takes the archive to its end; then the object's hash is compared.

    :raises BadBackupError: the object is not what its manifest says, or the block found a member
        that it refused.
    """
    if kit.bytes > MOST_BYTES:
        raise _refused(kit, f"it has {human_bytes(kit.bytes)}")
    with job.store.download(kit.key, kit.bytes) as download:
        packed: Iterator[bytes] = _told(download, job)
        if kit.encrypted:
            packed = codec.decrypt(packed, job.identities)
        unpacked = codec.decompress(packed, "gzip")
        reading = _Reading(Archive(unpacked, most_unpacked(kit.bytes)))
        try:
            yield reading
        except ArchiveError as error:
            raise BadBackupError(
                f"{kit.name} is damaged: {error}",
                "Restore another kit",
                [finding("KIT_DAMAGED", str(error))],
            ) from None
        except Refused as error:
            raise _refused(kit, str(error)) from None
        for _ in packed:  # what is behind the archive belongs to the hash too
            continue
        reading.sha256 = download.sha256
    if kit.manifest and reading.sha256 != kit.manifest["sha256"]:
        altered = finding("OBJECT_ALTERED", "the SHA-256 is not the manifest's")
        raise BadBackupError(
            f"{kit.name} is not the object that was uploaded", "Restore another kit", [altered]
        )


def _look(job: Job, kit: Kit, folder: str, judge: Judge) -> tuple[int, str]:
    """All of a kit, and what lies in the target folder; nothing is written.

    :return: bytes that it takes on disk, and the object's hash.
    """
    try:
        with contextlib.closing(Look(folder, paths_of(kit))) as look:
            with _read(job, kit) as reading:
                for member in reading.archive:
                    look.at(judge.look(member))
            return look.require_room(), reading.sha256
    except OSError as error:
        raise _unwritable(error, folder) from None


def _put_back(job: Job, kit: Kit, folder: str, sources: set[int], sha256: str) -> None:
    """What was looked at before is looked at again: the object may be another by now."""
    paths = paths_of(kit)
    judge = Judge(paths)
    try:
        with Staged(folder, paths, sources) as staged:
            with _read(job, kit) as reading:
                for member in reading.archive:
                    staged.add(judge.look(member), reading.archive.content())
            if reading.sha256 != sha256:
                raise _refused(kit, "it was replaced while it was read")
            staged.commit()
    except OSError as error:
        raise _unwritable(error, folder) from None


def _unwritable(error: OSError, folder: str) -> PostgresBackupError:
    return PostgresBackupError(
        f"Failed to write below {folder}: {error.strerror or error}"
        + (f" ({printable(str(error.filename))})" if error.filename else ""),
        "Run this as root; is there room on the disk?",
    )


def _refused(kit: Kit, why: str) -> BadBackupError:
    return BadBackupError(
        f"{kit.name} is refused: {why}",
        "No kit of ours is like that, and nothing was written. Who else may write to the bucket? "
        "Restore another kit",
        [finding("KIT_REFUSED", why)],
    )


def _told(chunks: Iterable[bytes], job: Job) -> Iterator[bytes]:
    for chunk in chunks:
        job.progress.advance(len(chunk))
        job.pace.passed(len(chunk))
        yield chunk


def lines(result: KitResult, check: bool = False) -> list[str]:
    """:func:`restore_kit` for a person.

    :param check: it was read, and nothing was written.
    """
    files = "files" if result["files"] is None else f"{result['files']} files"
    done = "is whole, and its files would come back" if check else "is back"
    told = f"kit: {result['kit']} {done}: {files}, {human_bytes(result['bytes'])}, "
    room = [f"It takes {human_bytes(result['unpacked_bytes'])} of the disk"] if check else []
    return [
        told + human_seconds(result["seconds"]),
        *room,
        *(found["message"] for found in result["findings"]),
    ]
