"""What listings have shown during one look, each made once: the databases of a server share the
folders under its prefix, and a folder that its parent does not show need not be listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..s3.client import StoredObject
from ..s3.store import MOST_OBJECTS, Store
from .summaries import Summaries


class Folder(NamedTuple):
    """What lies directly in a folder: objects, and the folders in it, whose names end in ``/``."""

    objects: Sequence[StoredObject]
    folders: frozenset[str]


_EMPTY = Folder((), frozenset())


class Listings:
    """For one look: what changes meanwhile is seen by the next one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folders: dict[str, Folder] = {}
        self._below: dict[str, Sequence[StoredObject]] = {}
        #: what was made before of the manifests that they show
        self.summaries = Summaries(store)

    def folder(self, folder: str, most: int = MOST_OBJECTS) -> Folder:
        """What lies directly in it.

        :param folder: ends in ``/``; empty: the bucket's root.
        :raises StoreError: the store does not tell, or there is more than ``most``.
        """
        if folder not in self._folders and self.is_absent(folder):
            return _EMPTY
        if folder not in self._folders and (all_of_it := self._within(folder)) is not None:
            self._folders[folder] = _folder(folder, all_of_it)
        if folder not in self._folders:
            folders: set[str] = set()
            objects = list(self._store.list(folder, delimiter="/", most=most, folders=folders))
            self._folders[folder] = Folder(objects, frozenset(folders))
        return self._folders[folder]

    def below(self, folder: str, most: int = MOST_OBJECTS) -> Sequence[StoredObject]:
        """All that lies in it at any depth.

        :raises StoreError: as :meth:`folder`.
        """
        if folder not in self._below and self.is_absent(folder):
            return ()
        if folder not in self._below and (all_of_it := self._within(folder)) is not None:
            self._below[folder] = [one for one in all_of_it if one.key.startswith(folder)]
        if folder not in self._below:
            self._below[folder] = list(self._store.list(folder, most=most))
        return self._below[folder]

    def _within(self, folder: str) -> Sequence[StoredObject] | None:
        """All that lies in a folder that has this one in it, where that was listed."""
        for end in range(len(folder) - 1, -1, -1):
            if (end == 0 or folder[end - 1] == "/") and folder[:end] in self._below:
                return self._below[folder[:end]]
        return self._below.get(folder)

    def is_absent(self, folder: str) -> bool:
        """A listing has shown that there is no such folder.

        One that shows no folder at all does not say so: not every store names them.
        """
        if not folder:  # the bucket's root is there
            return False
        parent = folder[: folder[:-1].rfind("/") + 1]
        shown = self._folders.get(parent)
        if shown is None:
            return bool(parent) and self.is_absent(parent)
        return bool(shown.folders) and folder not in shown.folders


def _folder(folder: str, objects: Sequence[StoredObject]) -> Folder:
    """What a listing of a folder alone would show of these."""
    here: list[StoredObject] = []
    folders: set[str] = set()
    for one in objects:
        if one.key.startswith(folder):
            name, slash, _ = one.key[len(folder) :].partition("/")
            if slash:
                folders.add(f"{folder}{name}/")
            else:
                here.append(one)
    return Folder(here, frozenset(folders))
