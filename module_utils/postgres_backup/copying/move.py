"""A server moves into a folder of its own under the prefix that it has shared with others, so that
its listing is its alone.

The store copies its objects. When all of them lie in the new place, and not before, the config
names that; the old ones stay until a later call finds everything in the new place. Cut short
anywhere nothing is lost, and the same again goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

from ..catalog import remembered
from ..catalog.names import own_folder, shared_prefix
from ..errors import StoreError, UsageError
from ..findings import Finding
from ..job import Job
from ..machine import config_file, lock
from ..machine.files import read_bounded, replace_file
from ..s3 import duplicate
from ..s3.client import StoredObject
from ..text import human_bytes, human_seconds
from . import copy
from .own_objects import Own, look

#: the lock of the kit, see ``backup/kit``
_KIT = "kit"
_LARGEST_CONFIG = 1 << 20
#: objects that the store copies at the same time
_AT_ONCE = 8


class MoveResult(TypedDict):
    """``old`` and ``new``: the prefixes. ``copied``, ``bytes``: objects that were (or would be)
    copied. ``removed``: old objects that were (or would be) removed, ``left`` of this server that
    are still in the old place. ``unclaimed``: backups there of which nothing says whose they are.
    ``switched``: the config names the new place, since now or before.
    """

    changed: bool
    old: str
    new: str
    copied: int
    bytes: int
    removed: int
    left: int
    unclaimed: int
    switched: bool
    findings: list[Finding]
    seconds: float


def move(job: Job, config: str) -> MoveResult:
    """Copy what is not there yet, of all databases and the kits; then let the config name the new
    place. Where it does already and nothing was left to copy, remove the old objects.

    :param job: of no database.
    :param config: the path of the settings' file.
    :raises UsageError: there is no folder to move into.
    :raises LockedError: a backup, a restore or another move is at work.
    :raises StoreError: the store does not copy, does not answer, or has something else there.
    """
    settings = job.settings
    old = shared_prefix(settings.s3_prefix, settings.server_name)
    new = own_folder(old, settings.server_name)
    if not old:
        raise UsageError(
            "The backups of this server lie in the root of the bucket, and not under a prefix",
            "Set backup_s3_prefix to the folder that is meant, and copy them with aws s3 sync",
        )
    with contextlib.ExitStack() as locks:
        for name in () if job.check else dict.fromkeys((*settings.databases, _KIT, copy.LOCK)):
            locks.enter_context(lock.hold(settings, name, "move"))
        result = _Move(job, old, new).do(config)
    job.progress.step(lines(result, job.check)[0])
    return result


class _Move:
    def __init__(self, job: Job, old: str, new: str) -> None:
        self.job, self.began = job, time.monotonic()
        self.old, self.new = f"{old}/", f"{new}/"
        self.switched = job.settings.s3_prefix.strip("/") == new
        self.result: MoveResult = {
            "changed": False,
            "old": old,
            "new": new,
            "copied": 0,
            "bytes": 0,
            "removed": 0,
            "left": 0,
            "unclaimed": 0,
            "switched": self.switched,
            "findings": [],
            "seconds": 0.0,
        }

    def do(self, config: str) -> MoveResult:
        job, result = self.job, self.result
        job.store.check()
        own = look(job, dataclasses.replace(job.settings, s3_prefix=result["old"]))
        there = {item.key: item for item in job.store.list(self.new)}
        missing = [item for item in own.objects if not self._is_there(item, there)]
        result["unclaimed"] = own.unclaimed
        result["copied"] = len(missing)
        result["bytes"] = sum(item.bytes for item in missing)
        result["left"] = len(own.objects)
        done_before = self.switched and not missing
        if not job.check:
            self._copy(missing)
            if not self.switched and own.objects:
                result["switched"] = _switch(config, result["new"])
            if result["switched"]:
                self._remember(own)
        if done_before:
            self._remove(own, there)
        result["changed"] = bool(missing or result["removed"] or result["switched"] > self.switched)
        result["findings"] += job.store.take_refused()
        result["seconds"] = round(time.monotonic() - self.began, 1)
        return result

    def _target(self, key: str) -> str:
        return self.new + key.removeprefix(self.old)

    def _is_there(self, item: StoredObject, there: dict[str, StoredObject]) -> bool:
        """:raises StoreError: something else lies there."""
        found = there.get(self._target(item.key))
        if found is None:
            return False
        if duplicate.is_same(self.job.store.s3, item, found):
            return True
        raise StoreError(
            f"Failed to move {item.key}: something else lies at {found.key}",
            "Look at both; which is the right one only you know. Nothing was replaced",
        )

    def _copy(self, items: Sequence[StoredObject]) -> None:
        """Side by side; what describes another comes after it, and after its own signature."""
        self.job.progress.phase(f"copying {len(items)} objects to {self.new}")

        def one(item: StoredObject) -> int:
            duplicate.duplicate(self.job.store.s3, item, self._target(item.key))
            return item.bytes

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for some in _in_order(items):
                for size in pool.map(one, some):
                    self.job.progress.advance(size)

    def _remember(self, own: Own) -> None:
        """What this server remembers to have signed lies there now."""
        for database, manifests in own.manifests.items():
            keys = {key: self._target(key) for key in manifests}
            self.result["findings"] += remembered.moved(self.job.settings, database, keys)

    def _remove(self, own: Own, there: dict[str, StoredObject]) -> None:
        """Of the old place what lies in the new one just so: also what an earlier removal that was
        cut short has left without its manifest.
        """
        store = self.job.store
        twins = [
            key
            for key, item in own.listed.items()
            if (found := there.get(self._target(key))) and duplicate.is_same(store.s3, item, found)
        ]
        self.result["removed"] = len(twins)
        if self.job.check:
            return
        self.job.progress.phase(f"removing {len(twins)} objects from {self.old}")
        # what says whose it is goes last, and each after its signature
        for some in _in_order([own.listed[key] for key in twins]):
            store.delete_many([item.key for item in some])
        self.result["left"] = 0


def _in_order(items: Sequence[StoredObject]) -> Iterable[Sequence[StoredObject]]:
    """Dumps and the like, then signatures, then what is signed."""
    for suffixes, wanted in (((".json", ".sig"), False), ((".sig",), True), ((".json",), True)):
        yield [item for item in items if item.key.endswith(suffixes) == wanted]


def _switch(config: str, prefix: str) -> bool:
    """Let the config name the new place; False where it is not ours to change."""
    try:
        data, mode = read_bounded(config, _LARGEST_CONFIG)
        changed = config_file.with_value(data.decode(), "S3_PREFIX", prefix)
        if changed is None:
            return False
        about = os.stat(config)
        owner = (about.st_uid, about.st_gid) if os.geteuid() == 0 else None
        replace_file(config, changed.encode(), mode, sync=True, owner=owner)
    except (OSError, UnicodeDecodeError, UsageError):
        return False
    return True


def lines(result: MoveResult, check: bool = False) -> list[str]:
    """:func:`move` for a person.

    :param check: nothing was done.
    """
    old, new = result["old"], result["new"]
    size, took = human_bytes(result["bytes"]), human_seconds(result["seconds"])
    text = [
        f"{result['copied']} objects ({size}) would be copied from {old}/ to {new}/"
        if check
        else f"{result['copied']} objects ({size}) copied from {old}/ to {new}/ in {took}"
    ]
    if result["removed"]:
        were = "would be" if check else "were"
        text.append(
            f"{result['removed']} objects that lie in both places {were} removed from {old}/"
        )
    elif result["left"] and not check:
        if result["switched"]:
            text += [
                f"The config names {new} now; backup_s3_prefix, where you have set it, must too",
                f"The old objects are still in {old}/: the same again removes them there",
            ]
        else:
            text.append(
                f"The config could not be changed: set backup_s3_prefix to {new}, run setup.yml, "
                "then type the same again"
            )
    elif not result["left"] and not result["copied"]:
        text.append(f"Nothing of this server lies directly under {old}/")
    if count := result["unclaimed"]:
        counted = f"{count} backup{'s' if count > 1 else ''}"
        text.append(
            f"Some stay in {old}/, for nothing says whose they are: {counted}. "
            "Before a move postgres-backup adopt makes them yours"
        )
    return [*text, *(f"{one['code']}: {one['message']}" for one in result["findings"])]
