"""Parts of backups: chosen tables, or definitions without rows, as somebody has asked for them.
They lie by themselves (``partial/``), each with its manifest beside it, and are no full backup.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .backup import Backup
from .names import BackupName, Layout
from .signed import SUFFIX, each_after_its_signature

if TYPE_CHECKING:
    from .backups import Catalog

#: objects in a folder of parts that are looked at
_MOST = 100_000
#: manifests without an object that one prune looks at
_MOST_LEFT = 1000


class Partials(NamedTuple):
    """The parts of backups under a prefix, newest first; those of others too, marked as such. And
    the manifests without one.
    """

    parts: list[Backup]
    lonely: list[tuple[Layout, str]]


def leftovers(catalog: Catalog, seen: Partials) -> list[str]:
    """Keys of manifests of ours whose part is gone, for a prune was cut short; in the order to
    delete them.
    """
    lonely = seen.lonely[:_MOST_LEFT]
    return each_after_its_signature(
        key for layout, key in lonely if catalog.gone(layout, key, BackupName.parse_part)
    )


def look(catalog: Catalog, wholes: Sequence[Backup]) -> Partials:
    """What lies there.

    :param wholes: what :meth:`Catalog.backups` returned.
    """
    parts: list[Backup] = []
    lonely: list[tuple[Layout, str]] = []
    for layout in catalog.layouts:
        folder = f"{layout.root}partial/"
        below = {item.key: item for item in catalog.listings.below(folder, _MOST)}
        names = {key: BackupName.parse_part(key.removeprefix(folder)) for key in below}
        objects = {name: below[key] for key, name in names.items() if name}
        described = {layout.manifest(name) for name in objects}
        lonely += [
            (layout, key)
            for key in below
            if key.endswith(".json") and not key.endswith(SUFFIX) and key not in described
        ]
        parts += catalog.joined(layout, objects, below.keys())
    told = list(_told_apart(catalog, parts, wholes))
    told.sort(key=lambda part: (part.dated_at, part.key), reverse=True)
    return Partials(told, lonely)


def _told_apart(
    catalog: Catalog, parts: Sequence[Backup], wholes: Sequence[Backup]
) -> Iterator[Backup]:
    """A part that another server of our name has taken is not pruned; whose a server is, its whole
    backups have told.
    """
    own = {one.mark.identifier for one in wholes if one.ours and not one.untold}
    own |= {"", catalog.own.identifier}
    signs = any(one.ours and one.trusted for one in [*wholes, *parts])
    for part in parts:
        held = ""
        if part.mark.identifier not in own:
            held = f"not known to be ours: {part.mark} took it"
        if part.forged:
            held = "its signature is wrong"
        passed_over = signs and part.ours and not part.trusted
        yield dataclasses.replace(part, held=held, passed_over=passed_over)
