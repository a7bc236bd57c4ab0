"""One backup, or one kit, from the first store to the second: the objects as they are, streamed,
with nothing on the disk. Each piece is held against the signed manifest before it is sent on; the
manifest comes last, so what is cut short is no backup there.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterable

from ..catalog import kits, signed
from ..catalog.backups import Backup
from ..catalog.kits import Kit
from ..catalog.manifest import PartRecord
from ..catalog.names import Layout
from ..catalog.signed import Believed
from ..errors import BadBackupError
from ..findings import finding
from ..job import Job
from ..s3 import calls
from ..s3.errors import may_fail
from ..s3.store import Store
from ..shapes.reader import MOST_BYTES
from ..signing import sshsig
from ..signing.judge import Standing
from ..text import human_bytes
from ..verify.pieces import Mender, altered, checked
from ..verify.reader import read_stored
from ..verify.saved_roles import saved_roles


def place_in(job: Job, layout: Layout) -> Layout:
    """The same folder in the second store."""
    return Layout(job.settings.s3_prefix, layout.database)


def is_copied(backup: Backup, there: Backup | None, roles: Collection[str]) -> bool:
    """Whether all of a backup lies in the second store, as far as a listing tells.

    :param there: what lies there under its name.
    :param roles: the keys of the saved roles that lie there.
    """
    if there is None or there.problem or there.bytes != backup.bytes:
        return False
    same = there.manifest_sha256 == backup.manifest_sha256 and there.standing == backup.standing
    return same and not _lacks_roles(backup, there.layout, roles)


def _lacks_roles(backup: Backup, layout: Layout, roles: Collection[str]) -> bool:
    saved = backup.described.get("globals") if backup.described else None
    wanted = bool(saved and (saved.get("sha256") or not backup.trusted))
    return wanted and layout.globals(backup.name) not in roles


def copy_backup(
    near: Job, far: Job, believed: Believed, backup: Backup, there: Backup | None
) -> bool:
    """Copy what of a backup is not there yet.

    :param near: of the first store.
    :param far: of the second.
    :param there: what lies there under its name; nothing of it that is good is ever replaced.
    :return: whether its object was sent; else the rest alone was.
    :raises BadBackupError: it is not what its manifest says, here or there.
    :raises StoreError: one of the stores refuses, or does not answer.
    """
    layout = place_in(far, backup.layout)
    key = backup.layout.manifest(backup.name)
    about, signature = _described(
        near.store, believed, key, backup.manifest_sha256, _server_of(backup), backup.standing
    )
    roles = saved_roles(near, backup)
    wanted = dataclasses.replace(backup, layout=layout)
    sent = False
    if not _object_is_there(far, wanted, there):
        _send(
            near,
            far,
            backup.key,
            wanted.key,
            str(backup.name),
            backup.bytes,
            _sha256_of(backup),
            _parts_of(backup),
        )
        sent = True
    if roles is not None:
        far.store.put(calls.COPY, layout.globals(backup.name), roles)
    _describe(far.store, layout.manifest(backup.name), about, signature)
    return sent


def copy_kit(near: Job, far: Job, believed: Believed, kit: Kit, there: Kit | None) -> None:
    """The same of a server kit.

    :raises BadBackupError: it is not what its manifest says.
    :raises StoreError: one of the stores refuses, or does not answer.
    """
    manifest = kit.manifest
    assert manifest is not None  # it is a good one
    key = kits.manifest_key(near.settings, kit.name)
    server = manifest["server"]["name"]
    about, signature = _described(near.store, believed, key, "", server, kit.standing)
    target = kits.root_of(far.settings) + kit.name
    if there is not None and there.bytes != kit.bytes:
        far.store.delete([target], calls.REMOVE_COPY)
        there = None
    if there is not None and _sha256_there(far, target, kit.bytes) != manifest["sha256"]:
        far.store.delete([target], calls.REMOVE_COPY)
        there = None
    if there is None:
        _send(near, far, kit.key, target, kit.name, kit.bytes, manifest["sha256"], None)
    _describe(far.store, kits.manifest_key(far.settings, kit.name), about, signature)


def copy_small(near: Job, far: Job, keys: Iterable[tuple[str, str]]) -> int:
    """Small signed objects that stand for themselves, each with its signature; how many.

    :param keys: of each its key in the first store, and in the second.
    """
    count = 0
    for key, target in keys:
        data = near.store.get(key, MOST_BYTES)
        signature = near.store.get(key + signed.SUFFIX, sshsig.MAX_BYTES)
        if data is None:  # it has gone meanwhile
            continue
        _describe(far.store, target, data, signature)
        count += 1
    return count


def _described(
    store: Store, believed: Believed, key: str, sha256: str, server: str, standing: Standing
) -> tuple[bytes, bytes | None]:
    """A manifest and its signature as they lie in the first store now, which is as they were
    listed.

    :param sha256: of the manifest as it was listed; empty: only its signature says what it is.
    :raises BadBackupError: they are others meanwhile.
    """
    about = store.get(key, MOST_BYTES)
    signature = store.get(key + signed.SUFFIX, sshsig.MAX_BYTES) if standing.fingerprint else None
    same = about is not None and (not sha256 or hashlib.sha256(about).hexdigest() == sha256)
    if about is not None and same and believed.judge(about, signature, server) == standing:
        return about, signature
    raise BadBackupError(
        f"Failed to copy {key}: it was replaced while it was being copied",
        "Type it again; if it lasts, ask who else has a key to the bucket",
        [finding("OBJECT_CHANGED", f"{key}: it was replaced while it was being copied")],
    )


def _describe(store: Store, key: str, about: bytes, signature: bytes | None) -> None:
    """The signature first: nobody ever sees one of ours that is not signed yet."""
    if signature:
        store.put(calls.COPY, key + signed.SUFFIX, signature)
    else:
        store.delete([key + signed.SUFFIX], calls.REMOVE_COPY)
    store.put(calls.COPY, key, about, "application/json")


def _object_is_there(far: Job, wanted: Backup, there: Backup | None) -> bool:
    """Whether the object lies there already, all of it; what is no good there is taken away.

    :raises BadBackupError: another backup lies there under that name, for which as much speaks.
    """
    if there is None:
        return False
    vouched = there.trusted or not (wanted.trusted or there.problem)
    if there.described is not None and vouched and _sha256_of(there) != _sha256_of(wanted):
        told = f"{wanted.key} is another backup in the second store"
        raise BadBackupError(
            f"Failed to copy {wanted.name}: another backup lies under that name in the second "
            "store",
            "Look at both (postgres-backup list --from copy); which is the right one only you "
            "know. Nothing was replaced",
            [finding("COPY_OTHER", told)],
        )
    if there.bytes == wanted.bytes:
        same = there.manifest_sha256 == wanted.manifest_sha256
        if same and not there.problem:  # it was sent, and its manifest after it
            return True
        try:
            read_stored(far, wanted)
            return True
        except BadBackupError:
            far.progress.step(f"{wanted.name} is damaged in the second store; it is copied anew")
    far.store.delete([wanted.key], calls.REMOVE_COPY)
    return False


def _send(
    near: Job,
    far: Job,
    key: str,
    target: str,
    name: str,
    size: int,
    sha256: str,
    parts: list[PartRecord] | None,
) -> None:
    """One object. It is there when all of it was sent and was right, and not before."""
    near.progress.phase(f"copying {name} ({human_bytes(size)})")
    with may_fail(far.store.refused):
        far.store.abort_uploads(target)
    with near.store.download(key, size) as download, far.store.upload(target, size) as upload:
        mender = Mender(download.again, near.progress.step)
        for chunk in checked(download, parts, name, mender) if parts else download:
            upload.write(chunk)
            near.progress.advance(len(chunk))
        if upload.sha256 != sha256 or upload.bytes != size:
            raise altered(name, "all of it")
        upload.complete()


def _sha256_there(far: Job, key: str, size: int) -> str:
    """The hash of an object in the second store, read to its end; empty where it cannot be."""
    try:
        with far.store.download(key, size) as download:
            for _ in download:
                continue
    except BadBackupError:
        return ""
    return download.sha256


def _sha256_of(backup: Backup) -> str:
    return backup.described["sha256"] if backup.described else ""


def _server_of(backup: Backup) -> str:
    return backup.described["server"].get("name", "") if backup.described else ""


def _parts_of(backup: Backup) -> list[PartRecord] | None:
    return backup.manifest.get("parts") if backup.manifest else None
