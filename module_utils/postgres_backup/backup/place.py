"""Where a backup lies, whole or in part."""

from __future__ import annotations

import dataclasses

from ..catalog.begun import Begun
from ..catalog.names import BackupName, Layout
from ..catalog.signed import SUFFIX


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

    def begun(self, sure: bool) -> Begun:
        """What is remembered of it while it is written.

        :param sure: nobody else may have taken this name.
        """
        beside = [] if self.part else [self.layout.globals(self.name)]
        beside.append(self.manifest + SUFFIX)
        return Begun(key=self.key, manifest=self.manifest, beside=beside, alone=sure)

    @property
    def label(self) -> str:
        """The last part of the key: what a listing shows."""
        return self.key.rsplit("/", 1)[-1]
