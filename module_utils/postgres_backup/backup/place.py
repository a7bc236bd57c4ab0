"""Where a backup lies, whole or in part. Pure."""

from __future__ import annotations

import dataclasses

from ..catalog.names import BackupName, Layout


@dataclasses.dataclass(frozen=True)
class Place:
    """The keys of one backup.

    :param part: what of the database it holds, as ``Layout.partial`` takes it; empty: all.
    """

    layout: Layout
    name: BackupName
    part: str = ""

    @property
    def key(self) -> str:
        if self.part:
            return self.layout.partial(self.name, self.part)
        return self.layout.backup(self.name)

    @property
    def manifest(self) -> str:
        return f"{self.key}.json" if self.part else self.layout.manifest(self.name)

    @property
    def label(self) -> str:
        """The last part of the key: what a listing shows."""
        return self.key.rsplit("/", 1)[-1]
