"""What the retention asks of a backup, where no bucket is needed to decide."""

from __future__ import annotations

import dataclasses
from datetime import datetime


@dataclasses.dataclass(frozen=True)
class Night:
    """A good backup of a night, that nobody has restored yet."""

    taken_at: datetime
    ours: bool = True
    whole: bool = True
    good: bool = True
    was_read: bool = False
    restored: bool = False
    proven: bool = False
    waits_for_adoption: bool = False
    ahead: bool = False

    @property
    def dated_at(self):
        return self.taken_at
