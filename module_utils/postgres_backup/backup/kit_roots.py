"""Which paths a server kit is made of: the named ones, and what links among them lead to.

A named path that is a link is followed: the link is saved, and what it leads to, at its own place.
So the named path works after a restore, and what lies on a volume returns to the volume.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Collection, Sequence

from ..catalog.kit_paths import Parts, leads_to, parts_of, path_of, prefixes
from ..errors import UsageError

#: links that lead to links
_MOST_PATHS = 1000


@dataclasses.dataclass(frozen=True)
class Roots:
    """What a kit is made of.

    :param paths: all that a kit's manifest names: what was named, each link that is followed, and
        what it leads to.
    :param walked: those to walk: no link is on the way to one, and none lies below another.
    :param targets: link -> what it leads to, where its own letters would not say so.
    """

    paths: tuple[str, ...]
    walked: tuple[str, ...]
    targets: dict[str, str]


def resolve(paths: Sequence[str]) -> Roots:
    """Follow the links among ``backup_paths``.

    A link on the way to a path is followed where the kit holds it as a link: it lies below another
    path. Any other link above a path stays what the path's letters say, a folder.

    :raises UsageError: a path is relative, goes up, is not there, leads nowhere or to ``/``, or is
        neither file, folder nor link.
    """
    known = dict.fromkeys(_named(path) for path in paths)
    targets: dict[str, str] = {}
    while True:
        followed = {path: _follow(path, known, targets) for path in known}
        fresh = [path for pair in followed.values() if pair for path in pair if path not in known]
        if not fresh:
            break
        known.update(dict.fromkeys(fresh))
        if len(known) > _MOST_PATHS:
            raise UsageError(
                f"The links in backup_paths lead through more than {_MOST_PATHS} others",
                "Name what they lead to instead",
            )
    direct = [path for path, pair in followed.items() if pair is None or pair[0] == path]
    folders = {path for path in direct if followed[path] is None and os.path.isdir(path)}
    walked = [path for path in direct if not _held(os.path.dirname(path), folders - {path})]
    return Roots(tuple(known), tuple(walked), targets)


def _named(path: str) -> str:
    """In its plain form."""
    if not os.path.isabs(path):
        raise UsageError(
            f"The path {path!r} in backup_paths is not absolute",
            "Write it from the root: /srv/app/.env",
        )
    parts = parts_of(path)
    if parts is None:
        raise UsageError(
            f"The path {path!r} in backup_paths goes up with .., or is too long",
            "Write the way from the root: /srv/app/.env",
        )
    plain = path_of(parts)
    if not os.path.lexists(plain):
        raise UsageError(
            f"The path {path} in backup_paths does not exist",
            "Correct backup_paths, or make it",
        )
    kind = os.stat(plain).st_mode if os.path.exists(plain) else stat.S_IFLNK
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
        raise UsageError(
            f"The path {path} in backup_paths is neither a file nor a folder",
            "Take it out: a socket or a device cannot be saved",
        )
    return plain


def _parts(path: str) -> Parts:
    return parts_of(path) or ()


def _held(path: str, known: Collection[str]) -> bool:
    """It is one of the paths, or lies below one."""
    return any(path_of(above) in known for above in prefixes(_parts(path)))


def _follow(path: str, known: Collection[str], targets: dict[str, str]) -> tuple[str, str] | None:
    """The first link on the way to a path that the kit holds as a link, and where the path really
    lies by it; None where there is none.
    """
    parts = _parts(path)
    for above in prefixes(parts):
        link = path_of(above)
        if os.path.islink(link) and (link == path or _held(link, known)):
            where = _target(link)
            if leads_to(above, os.readlink(link)) != _parts(where):
                targets[link] = where
            return link, path_of(_parts(where) + parts[len(above) :])
    return None


def _target(link: str) -> str:
    """What a link leads to, under the name that its letters say, where that is the same."""
    written = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    if not os.path.exists(link):
        raise UsageError(
            f"The path {link} in backup_paths is a link to {written}, which is not there",
            "Is a volume not mounted (findmnt)? Else correct the link, or backup_paths",
        )
    where = written if os.path.exists(written) and os.path.samefile(written, link) else ""
    where = where or os.path.realpath(link)
    if where == "/":
        raise UsageError(
            f"The path {link} in backup_paths is a link to /, the whole machine",
            "Name the folders that you need",
        )
    return where
