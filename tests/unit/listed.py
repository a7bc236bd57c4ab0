"""A store that is a dictionary, where a real one would take neither such keys nor so many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import TypeVar

from postgres_backup.errors import StoreError
from postgres_backup.s3.client import StoredObject, md5
from postgres_backup.s3.seen import Told
from postgres_backup.settings import Settings

T = TypeVar("T")
#: long after every name, as of copies
WRITTEN = datetime(2200, 1, 1, tzinfo=timezone.utc)


class Listed:
    """It lists what it is given, and hands out what it was told to.

    :param settings: with them its listings tell MD5s, so that what was read before is known.
    :ivar read: keys of what was handed out.
    """

    def __init__(self, objects: dict[str, bytes], settings: Settings | None = None) -> None:
        self.objects = objects
        self.settings = settings
        self.keeps = True
        self.read: list[str] = []
        self._told: dict[str, Told] = {}

    def list(
        self,
        prefix: str,
        delimiter: str = "",
        after: str = "",
        most: int = 1_000_000,
        folders: set[str] | None = None,
    ) -> Iterator[StoredObject]:
        for key, body in self.objects.items():
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix) or key <= after:
                continue
            if delimiter and delimiter in rest:
                if folders is not None:
                    folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            if self.settings:
                self._told[key] = Told(md5(body), len(body))
            yield StoredObject(key, len(body), WRITTEN)

    def get(self, key: str, most: int) -> bytes | None:
        self.read.append(key)
        return self.objects.get(key)

    def get_many(
        self,
        keys: Iterable[str],
        read: Callable[[str, bytes | StoreError | None], T],
        most: int,
        afresh: bool = False,
        kept: Callable[[T], bool] = bool,
    ) -> list[T]:
        wanted = list(keys)
        self.read += wanted
        return [read(key, self.objects.get(key)) for key in wanted]

    def told(self, key: str) -> Told | None:
        return self._told.get(key)

    def head(self, key: str) -> None:
        return None

    def check(self, may_list: bool = True) -> None:
        """It answers."""
