"""The names inside a server kit, and where its links lead. Pure, and the same when a kit is saved
and when it is put back, so that one says beforehand what the other does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

#: a path from ``/`` on, as its components; ``/`` itself has none
Parts = tuple[str, ...]

#: files, folders and links of one kit; what is known of each takes about 100 bytes of memory
MOST_MEMBERS = 1_000_000
#: of a kit, packed or unpacked (1 TiB)
MOST_BYTES = 1 << 40
#: how many times its packed size a kit may unpack to, above :data:`ANY_RATIO` bytes
MOST_RATIO = 200
ANY_RATIO = 1 << 30
#: what Linux takes: bytes of a path, bytes of a name in it; and folders within one another
_MOST_PATH, _MOST_NAME, _MOST_DEPTH = 4096, 255, 255


def parts_of(path: str) -> Parts | None:
    """The components of a path, without empty ones and ``.``; None where it goes up (``..``) or
    could be nobody's path.
    """
    found = tuple(part for part in path.split("/") if part not in ("", "."))
    if len(found) > _MOST_DEPTH or len(path) > _MOST_PATH or "\0" in path:
        return None
    if any(part == ".." or len(os_bytes(part)) > _MOST_NAME for part in found):
        return None
    return found


def os_bytes(text: str) -> bytes:
    """As the file system has it; names that are no UTF-8 too."""
    return text.encode("utf-8", "surrogateescape")


def path_of(parts: Parts) -> str:
    """The path from the root on, as a person types it."""
    return "/" + "/".join(parts)


def prefixes(parts: Parts) -> Iterable[Parts]:
    """``/`` first, the path itself last."""
    return (parts[:count] for count in range(len(parts) + 1))


class Paths:
    """The paths that a kit was made of.

    :param paths: from ``/`` on, without ``..``.
    """

    def __init__(self, paths: Collection[Parts]) -> None:
        self._paths = frozenset(paths)
        self._above = {above for path in paths for above in prefixes(path[:-1])}

    def hold(self, parts: Parts) -> bool:
        """It is one of them, or lies below one."""
        return any(above in self._paths for above in prefixes(parts))

    def times(self, parts: Parts) -> int:
        """How often it is named: by so many of the paths."""
        return sum(above in self._paths for above in prefixes(parts))

    def above(self, parts: Parts) -> bool:
        """One of the paths lies below it, and none above it or there: the kit says nothing of
        it.
        """
        return parts in self._above and not self.hold(parts)

    def keep(self, link: Parts, target: str) -> bool:
        """A link leads to what the kit holds; or it is a path itself, and leads to a folder that
        another path is in.
        """
        where = leads_to(link, target)
        if where is None:
            return False
        return self.hold(where) or (link in self._paths and where in self._above)


def leads_to(link: Parts, target: str) -> Parts | None:
    """Where a link leads, by its letters alone.

    None for what cannot be told so: ``..`` behind a name (that name may be a link itself), or above
    ``/``.
    """
    if not target or "\0" in target or len(target) > _MOST_PATH:
        return None
    at = [] if target.startswith("/") else list(link[:-1])
    down = False
    for part in target.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if down or not at:
                return None
            at.pop()
        else:
            down = True
            at.append(part)
    return tuple(at)


def most_unpacked(packed_bytes: int) -> int:
    """What a kit of so many bytes may unpack to."""
    return min(MOST_BYTES, ANY_RATIO + MOST_RATIO * packed_bytes)
