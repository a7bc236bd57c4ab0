"""Which members of a server kit may be put back. Whoever can write to the bucket can make a kit, so
each member is hostile until it was looked at; pure but for the names of owners.
"""

from __future__ import annotations

import dataclasses
import functools
import grp
import pwd
import shlex
import stat
from typing import TypedDict

from ..catalog.kit_paths import (
    MOST_MEMBERS,
    Parts,
    Paths,
    leads_to,
    os_bytes,
    parts_of,
    path_of,
    prefixes,
)
from ..findings import Finding, finding
from ..stream.archive import FILE, FOLDER, HARD_LINK, LINK, Member
from ..text import printable

#: owners and groups of one kit, and letters of their names
_MOST_OWNERS, _MOST_NAME = 1000, 256
#: of what a finding names
_NAMED = 3
#: a folder that no member is, but one is in
_ABOVE = "above"


class Refused(Exception):
    """A member that no kit of ours has."""


class Owner(TypedDict):
    """A user or group (``kind``) that owns files of a kit: the number there and here, and whether
    the name is known here.
    """

    kind: str
    name: str
    was: int
    here: int
    known: bool


@dataclasses.dataclass(frozen=True)
class Accepted:
    """A member that may be put back.

    :param parts: where, from the target folder on.
    :param source: of a hard link, the file that it has the content of.
    :param leads: of a link, where it leads to; None where it is left out, because it leads out.
    """

    member: Member
    parts: Parts
    source: Parts | None = None
    leads: Parts | None = None

    @property
    def left_out(self) -> bool:
        return self.member.kind == LINK and self.leads is None


class Judge:
    """Looks at the members of a kit in their order. What it remembers of each are some 100 bytes.

    :param paths: that the kit was made of.
    :ivar count: members so far.
    :ivar sources: of hard links, as ``hash`` of their parts.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        #: hash of parts (Python's, with a key that nobody outside knows) -> kind
        self._kinds: dict[int, str] = {}
        self._times: dict[int, int] = {}
        self._inside: Parts | None = None
        self._owners: dict[tuple[str, str, int], None] = {}
        self._left_out: list[str] = []
        self._left_out_count = self.count = 0
        self.sources: set[int] = set()

    def look(self, member: Member) -> Accepted:
        """:raises Refused: it is what no kit of ours has; nothing may be written then."""
        self.count += 1
        if self.count > MOST_MEMBERS:
            raise Refused(f"it has more than {MOST_MEMBERS} members")
        if member.kind not in (FILE, FOLDER, LINK, HARD_LINK):
            raise Refused(f"{_said(member)} is a {member.kind}")
        parts = self._place(member)
        self._require_mode(member)
        self._enter(member, parts)
        self._note_owners(member)
        if member.kind == HARD_LINK:
            return Accepted(member, parts, source=self._source(member))
        if member.kind == LINK:
            return Accepted(member, parts, leads=self._leads(member, parts))
        return Accepted(member, parts)

    def _place(self, member: Member) -> Parts:
        parts = None if member.name.startswith("/") else parts_of(member.name)
        if parts is None or not self._paths.hold(parts):
            raise Refused(f"{_said(member)} leads out of the paths that the kit was made of")
        if (not parts and member.kind != FOLDER) or member.name.endswith("/"):
            raise Refused(f"{_said(member)} has a name that only folders have")
        return parts

    def _require_mode(self, member: Member) -> None:
        """Folders may be set-gid: their files get their group."""
        if member.mode & stat.S_ISUID or (member.kind != FOLDER and member.mode & stat.S_ISGID):
            raise Refused(f"{_said(member)} is set-uid or set-gid")

    def _enter(self, member: Member, parts: Parts) -> None:
        """All above it are folders, it is nothing else already, and its name is new."""
        if parts[:-1] != self._inside:
            for above in prefixes(parts[:-1]) if parts else ():
                if self._kinds.setdefault(hash(above), _ABOVE) not in (FOLDER, _ABOVE):
                    raise Refused(f"{_said(member)} leads through a link or a file of the kit")
            self._inside = parts[:-1] if parts else None
        kind = FILE if member.kind == HARD_LINK else member.kind
        name = hash(parts)
        before = self._kinds.get(name)
        self._kinds[name] = kind
        if before is None or (before == _ABOVE and kind == FOLDER):
            return
        # version 0.1.0 saved a file as often as its paths named it
        self._times[name] = self._times.get(name, 1) + 1
        if before != kind or self._times[name] > self._paths.times(parts):
            raise Refused(f"{_said(member)} is in it twice")

    def _note_owners(self, member: Member) -> None:
        for kind, name, number in (
            ("user", member.user, member.uid),
            ("group", member.group, member.gid),
        ):
            if (kind, name, number) in self._owners:
                continue
            if len(os_bytes(name)) > _MOST_NAME or len(self._owners) >= _MOST_OWNERS:
                raise Refused("it has more owners, or longer names of owners, than there can be")
            self._owners[kind, name, number] = None

    def _source(self, member: Member) -> Parts:
        source = None if member.target.startswith("/") else parts_of(member.target)
        if source is None or not self._paths.hold(source):
            raise Refused(f"{_said(member)} is a hard link that leads out of the paths of the kit")
        if self._kinds.get(hash(source)) != FILE or source == parts_of(member.name):
            raise Refused(f"{_said(member)} is a hard link to what is no file of the kit before it")
        self.sources.add(hash(source))
        return source

    def _leads(self, member: Member, parts: Parts) -> Parts | None:
        if self._paths.keep(parts, member.target):
            return leads_to(parts, member.target)
        self._left_out_count += 1
        if len(self._left_out) < _NAMED:
            target, name = shlex.quote(member.target), shlex.quote(path_of(parts))
            self._left_out.append(printable(f"ln -s {target} {name}"))
        return None

    def findings(self) -> list[Finding]:
        """Of links that are left out."""
        if not self._left_out_count:
            return []
        more = self._left_out_count - len(self._left_out)
        return [
            finding(
                "KIT_LINK_LEFT_OUT",
                f"{self._left_out_count} links lead out of the paths of the kit and are not made; "
                f"where that is meant: {'; '.join(self._left_out)}"
                + (f"; and {more} more" if more else ""),
            )
        ]

    def owners(self) -> list[Owner]:
        """Those that have another number here, or none."""
        told = []
        for kind, name, was in sorted(self._owners):
            here = number_here(kind, name)
            if name and here != was:
                told.append(
                    Owner(kind=kind, name=name, was=was, here=was, known=False)
                    if here is None
                    else Owner(kind=kind, name=name, was=was, here=here, known=True)
                )
        return told


@functools.lru_cache(maxsize=2 * _MOST_OWNERS)
def number_here(kind: str, name: str) -> int | None:
    """The number of a user or group on this machine; None where the name is not known."""
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):  # ValueError: a NUL in it
        return None


def owner_findings(owners: list[Owner]) -> list[Finding]:
    """What the plan says of :meth:`Judge.owners`."""
    if not owners:
        return []
    told = [
        f"{one['kind']} {printable(one['name'])}: {one['was']} in the kit, "
        + (f"{one['here']} here" if one["known"] else f"not known here: stays {one['here']}")
        for one in owners[:10]
    ]
    more = f"; and {len(owners) - 10} more" if len(owners) > 10 else ""
    return [finding("KIT_OWNER_DIFFERS", f"Owners whose numbers differ: {'; '.join(told)}{more}")]


def _said(member: Member) -> str:
    return printable(member.name[:200]) or "a member without a name"
