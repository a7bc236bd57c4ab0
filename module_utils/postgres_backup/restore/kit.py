"""Put the files of a server kit back, after all of it was read and compared with its manifest."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterable, Iterator
from typing import TypedDict

from ..catalog.kits import Kit, list_kits
from ..errors import BadBackupError, PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..job import Job
from ..machine.progress import Progress
from ..s3.store import Store
from ..settings import Settings
from ..stream import codec
from ..text import human_bytes, human_seconds, nearest

#: bytes read from the archive at once
_CHUNK = 1 << 20


class KitResult(TypedDict):
    """A kit that was put back. ``files``: None where its manifest does not say how many."""

    changed: bool
    kit: str
    key: str
    bytes: int
    files: int | None
    findings: list[Finding]
    seconds: float
    sha256: str


def restore_kit(job: Job, wanted: str, to: str = "/") -> KitResult:
    """Put the files of a kit back, with their modes and, as root, their owners.

    Everything is read and compared with the manifest before the first file is written: twice
    through the network, but never half a kit. In check mode it is read and no more.

    :param wanted: a name, or ``latest``.
    :param to: the folder that stands for ``/``.
    :raises BadBackupError: cut, altered, or not decryptable.
    """
    job.store.check()
    chosen = _choose(job.settings, job.store, wanted)
    if chosen.encrypted:
        job.require_identities(chosen.name)
    began = time.monotonic()
    job.progress.phase(f"reading {chosen.name}")
    _extract(job, chosen, None)
    if not job.check:
        job.progress.phase(f"putting the files of {chosen.name} back")
        _extract(job, chosen, to)
    return {
        "changed": True,
        "kit": chosen.name,
        "key": chosen.key,
        "bytes": chosen.bytes,
        "files": chosen.manifest.get("files") if chosen.manifest else None,
        "findings": [],
        "seconds": round(time.monotonic() - began, 1),
        "sha256": chosen.manifest["sha256"] if chosen.manifest else "",
    }


def _choose(settings: Settings, store: Store, wanted: str) -> Kit:
    everybodys = list_kits(settings, store)
    ours = [kit for kit in everybodys if kit.ours]
    for kit in ours:
        if wanted in ("latest", kit.name):
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


def _extract(job: Job, kit: Kit, to: str | None) -> None:
    """Read a kit to its end; with ``to``, write its files."""
    with job.store.download(kit.key, kit.bytes) as download:
        packed: Iterator[bytes] = _told(download, job.progress)
        if kit.encrypted:
            packed = codec.decrypt(packed, job.identities)
        reader = _Reader(codec.decompress(packed, "gzip"))
        try:
            with tarfile.open(fileobj=reader, mode="r|", bufsize=_CHUNK) as tar:
                for member in tar:
                    if to is not None:
                        _require_inside(member, to)
                        _put_back(tar, member, to)
        except tarfile.TarError as error:
            raise BadBackupError(
                f"{kit.name} is damaged: {error}",
                "Restore another kit",
                [finding("KIT_DAMAGED", str(error))],
            ) from None
        except OSError as error:
            raise PostgresBackupError(
                f"Failed to write {error.filename}: {error.strerror}",
                "Run this as root; is there room on the disk?",
            ) from None
        reader.drain()
        if kit.manifest and download.sha256 != kit.manifest["sha256"]:
            altered = finding("OBJECT_ALTERED", "the SHA-256 is not the manifest's")
            raise BadBackupError(
                f"{kit.name} is not the object that was uploaded", "Restore another kit", [altered]
            )


def _put_back(tar: tarfile.TarFile, member: tarfile.TarInfo, to: str) -> None:
    """With its mode, which a filter would change for group-writable folders of uploads. Debian 12's
    Python (3.11.2) knows no filters, and does as this one.
    """
    if hasattr(tarfile, "fully_trusted_filter"):
        tar.extract(member, to, filter="fully_trusted")
    else:
        tar.extract(member, to)


def _require_inside(member: tarfile.TarInfo, to: str) -> None:
    """:raises tarfile.ExtractError: the entry would be written elsewhere; no kit of ours has such a
    one.
    """
    root = os.path.realpath(to)
    if (
        os.path.commonpath([root, os.path.realpath(os.path.join(root, member.name.lstrip("/")))])
        != root
    ):
        raise tarfile.ExtractError(f"{member.name} leads out of {to}")


def _told(chunks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    for chunk in chunks:
        progress.advance(len(chunk))
        yield chunk


class _Reader(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, count: int = -1) -> bytes:
        while len(self._rest) < count or count < 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        data, self._rest = (
            (self._rest, b"") if count < 0 else (self._rest[:count], self._rest[count:])
        )
        return data

    def drain(self) -> None:
        """To the end: what is behind the archive's own end must be read too, or its hash is not
        known.
        """
        self._rest = b""
        for _ in self._chunks:
            continue


def lines(result: KitResult, check: bool = False) -> list[str]:
    """:func:`restore_kit` for a person.

    :param check: it was read, and nothing was written.
    """
    files = "files" if result["files"] is None else f"{result['files']} files"
    done = "is whole, and its files would come back" if check else "is back"
    told = f"kit: {result['kit']} {done}: {files}, {human_bytes(result['bytes'])}, "
    return [
        told + human_seconds(result["seconds"]),
        *(found["message"] for found in result["findings"]),
    ]
