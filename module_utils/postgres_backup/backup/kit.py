"""The server kit: the files that a lost server needs beside its database (compose file, ``.env``, uploads), as a tar in the bucket.

It travels the same street as a backup: one stream through compression and encryption into parts, a manifest
written last, the same retention. Its objects lie under ``kit/``, so that they are never taken for a backup.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import random
import re
import stat
import tarfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from ..catalog import journal, manifest
from ..catalog.names import Layout, format_time, nearest, parse_time, utc_now
from ..catalog.retention import Policy, plan
from ..errors import BadBackupError, PostgresBackupError, UsageError
from ..machine import lock
from ..machine.progress import Progress, human_bytes, human_seconds
from ..s3.store import Store
from ..settings import Settings
from ..stream import codec
from ..stream.codec import Chain
from .prune_replaced import require_honest_clock

_NAME = re.compile(r"postgres-backup-kit-(?P<time>\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2})\.tar\.gz(?P<age>\.age)?", re.ASCII)
#: bytes read from a file at once
_CHUNK = 1 << 20
#: files come back with their modes, group-writable folders of uploads too. Debian 12's Python (3.11.2) knows no filters, and does as this one
_AS_IT_WAS = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
#: blocks of a tar are padded to this, bytes
_BLOCK = tarfile.BLOCKSIZE


@dataclasses.dataclass(frozen=True)
class Kit:
    """One kit in the bucket, as ``retention.plan`` and a restore need it."""

    name: str
    key: str
    bytes: int
    taken_at: datetime
    manifest: dict | None
    ours: bool

    @property
    def good(self) -> bool:
        return self.manifest is not None and self.manifest["bytes"] == self.bytes

    @property
    def proven(self) -> bool:
        return False

    @property
    def waits_for_adoption(self) -> bool:
        return False

    @property
    def encrypted(self) -> bool:
        return self.name.endswith(".age")


def _root(settings: Settings) -> str:
    prefix = settings.s3_prefix.strip("/")
    return f"{prefix}/kit/" if prefix else "kit/"


def kits(settings: Settings, store: Store) -> list[Kit]:
    """The kits of every server under the prefix, newest first."""
    root = _root(settings)
    objects = {item.key: item for item in store.list(root)}
    found = []
    for key, item in objects.items():
        match = _NAME.fullmatch(key[len(root) :])
        if not match:
            continue
        manifest_key = f"{root}{match.string.split('.')[0]}.json"
        data = store.get(manifest_key) if manifest_key in objects else None
        facts = _facts(data or b"")
        ours = facts is not None and facts["server"]["name"] == settings.server_name
        found.append(Kit(match.string, key, item.bytes, parse_time(match["time"]), facts, ours))
    return sorted(found, key=lambda kit: kit.taken_at, reverse=True)


def _facts(data: bytes) -> dict | None:
    """What a manifest says; None where it is damaged, so that one spoiled object does not hide the other kits. Such a kit is nobody's, and stays."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    right = isinstance(found, dict) and isinstance(found.get("server"), dict) and isinstance(found["server"].get("name"), str)
    return found if right and isinstance(found.get("bytes"), int) and isinstance(found.get("sha256"), str) else None


def newest_kit(settings: Settings) -> dict | None:
    """The newest kit of this server: ``kit paths files encrypted``; None where none was saved."""
    for kit in kits(settings, Store(settings)):
        if kit.ours and kit.manifest:
            return {"kit": kit.name, "paths": kit.manifest.get("paths", []), "files": kit.manifest.get("files"), "encrypted": kit.encrypted}
    return None


def create_kit(settings: Settings, check: bool = False, progress: Progress | None = None) -> dict:
    """Save the files of ``backup_paths``.

    :return: ``kit key bytes files file_bytes seconds sha256 findings changed``.
    :raises UsageError: there are no paths, one is missing, or the kit would hold secrets in the clear.
    :raises PostgresBackupError: a file cannot be read, or the store refuses; nothing of the kit is left in the bucket.
    """
    progress = progress or Progress()
    require_permission(settings)
    entries = list(_walk(settings.paths))
    expected = sum(size for _, size in entries)
    name = _name(settings, utc_now())
    result = {"changed": True, "kit": name, "key": _root(settings) + name, "files": len(entries), "file_bytes": expected, "findings": []}
    store = Store(settings)
    store.check()
    if check:
        return result
    with lock.hold(settings, "kit", "kit"):
        began, started = time.monotonic(), utc_now()
        name = _claim_name(settings, store)
        result |= {"kit": name, "key": _root(settings) + name}
        progress.phase(f"saving {len(entries)} files of the server ({human_bytes(expected)}) to {name}")
        findings: list[dict] = []
        with store.upload(result["key"], expected + len(entries) * 2 * _BLOCK) as upload:
            pipe = _Packed(Chain("gzip", settings.age_recipients), upload, progress)
            with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as tar:
                for path, _ in entries:
                    findings += _add(tar, path)
            pipe.finish()
            stored = upload.complete()
        facts = {
            "name": name,
            "server": {"name": settings.server_name},
            "paths": list(settings.paths),
            "started_at": manifest.timestamp(started),
            "ended_at": manifest.timestamp(utc_now()),
            "files": len(entries),
            "file_bytes": expected,
            "bytes": stored.bytes,
            "tar_bytes": pipe.bytes,
            "sha256": upload.sha256,
            "tar_sha256": pipe.sha256,
            "encryption": {"kind": "age", "recipients": list(settings.age_recipients)} if settings.age_recipients else None,
        }
        store.put(f"{_root(settings)}{name.split('.')[0]}.json", manifest.dump(facts), "application/json")
        seconds = round(time.monotonic() - began, 1)
        pruned = []
        if settings.prune_nightly:
            require_honest_clock(store)
            pruned = _prune(settings, store, progress)
    progress.step(f"kit: {name} is in the bucket: {len(entries)} files, {human_bytes(stored.bytes)}, {human_seconds(seconds)}")
    return result | {"bytes": stored.bytes, "sha256": upload.sha256, "seconds": seconds, "findings": findings, "deleted": pruned}


def _name(settings: Settings, moment: datetime) -> str:
    return f"postgres-backup-kit-{format_time(moment)}.tar.gz" + (".age" if settings.age_recipients else "")


def _claim_name(settings: Settings, store: Store) -> str:
    """A name that nobody has, and that nobody takes at the same time: every server under the prefix begins at midnight, as ``Backup`` knows too."""
    layout = Layout(settings.s3_prefix)
    while True:
        moment = utc_now()
        mine = journal.claim(store, layout, moment, {}, journal.KIT_BEGAN)
        others = [key for key in journal.claims(store, layout, moment, journal.KIT_BEGAN) if key != mine]
        if not others and not any(store.list(f"{_root(settings)}postgres-backup-kit-{format_time(moment)}.")):
            return _name(settings, moment)
        time.sleep(1.0 - time.time() % 1 + random.uniform(0.0, 4.0))


def require_permission(settings: Settings) -> None:
    """:raises UsageError: nothing to save is named, or it would lie in the bucket in the clear without anybody having said so."""
    if not settings.paths:
        raise UsageError("No files are named for the kit", "List them in backup_paths: the compose file, .env, uploads")
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
            raise UsageError(f"The path {path!r} in backup_paths is not absolute", "Write it from the root: /srv/app/.env")
        if not os.path.lexists(path):
            raise UsageError(f"The path {path} in backup_paths does not exist", "Correct backup_paths, or make it")
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
        f"Failed to read {error.filename}: {error.strerror}", f"Let the backup user read it: setfacl -R -m u:postgres-backup:rX {error.filename}"
    )


def _add(tar: tarfile.TarFile, path: str) -> list[dict]:
    """One entry. An application goes on writing: what is gone by now is left out, what shrank is filled up, and both are findings."""
    try:
        info = tar.gettarinfo(path, arcname=path)
        if not info.isreg():
            tar.addfile(info)
            return []
        with open(path, "rb") as file:
            exact = _Exactly(file, info.size)
            tar.addfile(info, exact)
    except FileNotFoundError:
        return [{"code": "FILE_GONE", "message": f"{path} was removed while the kit was made"}]
    except OSError as error:
        error.filename = path
        _refuse(error)
    return [{"code": "FILE_CHANGED", "message": f"{path} changed while it was read"}] if exact.short else []


class _Exactly(io.RawIOBase):
    """A file that gives as many bytes as its header in the tar says, whatever happens to it meanwhile."""

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
    for decision in reversed(plan(kits(settings, store), Policy.of(settings), datetime.now(timezone.utc))):
        if not decision.keep:
            store.delete([decision.backup.key, f"{_root(settings)}{decision.backup.name.split('.')[0]}.json"])
            deleted.append({"kit": decision.backup.name, "reason": decision.reason})
            progress.step(f"kit: deleted {decision.backup.name}: {decision.reason}")
    return deleted


def restore_kit(settings: Settings, wanted: str, to: str = "/", identities: tuple[str, ...] = (), check: bool = False, progress: Progress | None = None) -> dict:
    """Put the files of a kit back, with their modes and, as root, their owners.

    Everything is read and compared with the manifest before the first file is written: twice through the
    network, but never half a kit.

    :param wanted: a name, or ``latest``.
    :param to: the folder that stands for ``/``.
    :return: ``kit bytes files seconds sha256 findings changed``.
    :raises BadBackupError: cut, altered, or not decryptable.
    """
    progress = progress or Progress()
    store = Store(settings)
    store.check()
    chosen = _choose(settings, store, wanted)
    if chosen.encrypted and not identities:
        raise UsageError(
            f"{chosen.name} is encrypted and no private key was given", "Give the age key file: --identity FILE (Ansible: -e backup_age_identity_file=FILE)"
        )
    result = {"changed": True, "kit": chosen.name, "key": chosen.key, "bytes": chosen.bytes, "files": (chosen.manifest or {}).get("files"), "findings": []}
    began = time.monotonic()
    progress.phase(f"reading {chosen.name}")
    _extract(store, chosen, identities, None, progress)
    if not check:
        progress.phase(f"putting the files of {chosen.name} back")
        _extract(store, chosen, identities, to, progress)
    return result | {"seconds": round(time.monotonic() - began, 1), "sha256": (chosen.manifest or {}).get("sha256", "")}


def _choose(settings: Settings, store: Store, wanted: str) -> Kit:
    everybodys = kits(settings, store)
    found = [kit for kit in everybodys if kit.ours]
    for kit in found:
        if wanted in ("latest", kit.name):
            return kit
    near = nearest(wanted, [kit.name for kit in found])
    others = sorted({kit.manifest["server"]["name"] for kit in everybodys if kit.manifest})
    hint = f"The nearest: {', '.join(near)}" if near else f"There are kits of {', '.join(others)}: set backup_server_name" if others else "None was ever saved"
    raise UsageError(f"There is no kit {wanted!r} of {settings.server_name} in the bucket", hint)


def _extract(store: Store, kit: Kit, identities: tuple[str, ...], to: str | None, progress: Progress) -> None:
    """Read a kit to its end; with ``to``, write its files."""
    with store.download(kit.key, kit.bytes) as download:
        packed: Iterator[bytes] = _told(download, progress)
        if kit.encrypted:
            packed = codec.decrypt(packed, identities)
        reader = _Reader(codec.decompress(packed, "gzip"))
        try:
            with tarfile.open(fileobj=reader, mode="r|", bufsize=_CHUNK) as tar:
                for member in tar:
                    if to is not None:
                        _require_inside(member, to)
                        tar.extract(member, to, **_AS_IT_WAS)
        except tarfile.TarError as error:
            raise BadBackupError(f"{kit.name} is damaged: {error}", "Restore another kit", [{"code": "KIT_DAMAGED", "message": str(error)}]) from None
        except OSError as error:
            raise PostgresBackupError(f"Failed to write {error.filename}: {error.strerror}", "Run this as root; is there room on the disk?") from None
        reader.drain()
        if kit.manifest and download.sha256 != kit.manifest["sha256"]:
            finding = {"code": "OBJECT_ALTERED", "message": "the SHA-256 is not the manifest's"}
            raise BadBackupError(f"{kit.name} is not the object that was uploaded", "Restore another kit", [finding])


def _require_inside(member: tarfile.TarInfo, to: str) -> None:
    """:raises tarfile.ExtractError: the entry would be written elsewhere; no kit of ours has such a one."""
    root = os.path.realpath(to)
    if os.path.commonpath([root, os.path.realpath(os.path.join(root, member.name.lstrip("/")))]) != root:
        raise tarfile.ExtractError(f"{member.name} leads out of {to}")


def _told(chunks, progress: Progress) -> Iterator[bytes]:
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
        data, self._rest = (self._rest, b"") if count < 0 else (self._rest[:count], self._rest[count:])
        return data

    def drain(self) -> None:
        """To the end: what is behind the archive's own end must be read too, or its hash is not known."""
        self._rest = b""
        for _ in self._chunks:
            continue
