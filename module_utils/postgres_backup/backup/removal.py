"""How a backup is deleted with all that belongs to it, so that of whatever is left when that is cut
short it is still known whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..catalog import signed
from ..catalog.backups import Backup
from ..catalog.retention import Decision
from ..s3 import calls
from ..s3.calls import Call
from ..s3.store import Store

#: backups that are deleted together at most; of those before them nothing is left then
_TOGETHER = 300


def remove_each(
    store: Store,
    going: Sequence[Decision[Backup]],
    tell: Callable[[Decision[Backup]], None],
    call: Call = calls.DELETE,
) -> None:
    """Backups and what belongs to them, many together where many go. The oldest first: cut short,
    the newer ones are still there.

    :param going: newest first.
    :param tell: hears of each that is gone.
    :raises StoreError: one cannot be deleted; ``tell`` has not heard of it, nor of those with it.
    """
    oldest_first, together = going[::-1], _TOGETHER if len(going) > signed.FEW else 1
    for first in range(0, len(oldest_first), together):
        some = oldest_first[first : first + together]
        _remove(store, [decision.backup for decision in some], call)
        for decision in some:
            tell(decision)


def _remove(store: Store, backups: Sequence[Backup], call: Call) -> None:
    """One by itself, or many together.

    The manifests go last: cut short, the next run still knows whose the rest is
    (``Catalog.leftovers``).
    """
    if len(backups) == 1:
        [backup] = backups
        keys = [*_itself(backup), *signed.each_after_its_signature(_described(backup))]
        store.delete(keys, call)
        return
    store.delete_many([key for backup in backups for key in _itself(backup)], call)
    signed.delete(store, [key for backup in backups for key in _described(backup)], call)


def _itself(backup: Backup) -> list[str]:
    """The keys of a backup, and of the roles beside it."""
    keys = [backup.key]
    if backup.described and backup.described.get("globals"):
        # by its place, not by the key in the manifest, which still names the old place after a
        # bucket was copied elsewhere
        keys.append(backup.layout.globals(backup.name))
    return keys


def _described(backup: Backup) -> list[str]:
    """The keys of what says something of it, its manifest last."""
    return [*backup.noted.keys, backup.layout.manifest(backup.name)]
