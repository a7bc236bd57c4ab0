"""What a backup knows of names that its restore will not find by an empty ``search_path``. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..findings import Finding, finding
from .manifest import PathNeed

#: objects that are told of one by one
_NAMED = 5


def findings_of(needs: Sequence[PathNeed], database: str = "") -> list[Finding]:
    """What status and result of a backup say of it, with the mend.

    :param database: whose it is, where several are told of.
    """
    found = [finding("RESTORE_NEEDS_SEARCH_PATH", _told(n), database) for n in needs[:_NAMED]]
    if len(needs) > _NAMED:
        more = f"and {len(needs) - _NAMED} more objects of the same kind, see the manifest"
        found.append(finding("RESTORE_NEEDS_SEARCH_PATH", more, database))
    return found


def _told(need: PathNeed) -> str:
    mend = f" For good: {need['mend']}" if need["mend"] else ""
    return (
        f"{need['object']} names something without its schema ({need['said']}): a restore takes "
        f"the database's own search_path for it; psql alone cannot make it.{mend}"
    )
