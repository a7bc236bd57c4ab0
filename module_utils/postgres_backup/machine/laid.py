"""Files and folders as somebody wants them to lie on this machine, several at once: what differs is
put right and told, what is right is left alone.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from ..errors import PostgresBackupError, UsageError
from .files import read_bounded, replace_file, sweep_halves

#: bytes of what is compared; nothing that we lay is near it
_LIMIT = 10_000_000
_NONE: Mapping[str, object] = {}
#: what a difference shows of secrets
_HIDDEN = "what {} there has secrets, and is not shown\n"


@dataclass(frozen=True)
class Wanted:
    """A file or a folder as it should be.

    :param path: whole, from the root on.
    :param mode: such as 0o644.
    :param owner: a user's name; empty: as it is, or whoever makes it.
    :param group: likewise.
    :param content: of a file; None: what it holds stays, and nothing where it is made.
    :param folder: it is a folder; those above it that are missing are made like it.
    :param parents: folders above a file that are missing are made, for everybody to read; those
        that are there stay as they are.
    :param secret: a difference does not show the content.
    :param keeps: a folder that is there already keeps its owner and group.
    """

    path: str
    mode: int
    owner: str = ""
    group: str = ""
    content: str | None = None
    folder: bool = False
    parents: bool = False
    secret: bool = False
    keeps: bool = False


class Difference(TypedDict):
    """What ``--diff`` shows of one."""

    before: str
    after: str
    before_header: str
    after_header: str


class Laid(TypedDict):
    """``files``: the paths of those that were made or changed, or would be in a check."""

    changed: bool
    files: list[str]
    diff: list[Difference]


def wanted(said: Mapping[str, object], secrets: Mapping[str, object] = _NONE) -> Wanted:
    """One as a task says it.

    :param said: ``path mode owner group content folder parents keeps``.
    :param secrets: the contents of files that have secrets, by their path.
    :raises UsageError: the path is not whole, or the mode no text of four octal digits.
    """
    path, mode, content = str(said["path"]), str(said["mode"]), said.get("content")
    secret = path in secrets
    if not path.startswith("/"):
        raise UsageError(
            f"Failed to lay {path}: a whole path is wanted, such as /etc/{path}",
            "Write it from the root",
        )
    if not re.fullmatch("0[0-7]{3}", mode):
        raise UsageError(
            f"Failed to lay {path}: a mode is a text such as '0644', not {mode}",
            "Quote it, with a 0 before its three digits",
        )
    return Wanted(
        os.path.normpath(path),
        int(mode, 8),
        str(said.get("owner") or ""),
        str(said.get("group") or ""),
        str(secrets[path]) if secret else None if content is None else str(content),
        bool(said.get("folder")),
        bool(said.get("parents")),
        secret,
        bool(said.get("keeps")),
    )


def lay(wanted: Iterable[Wanted], check: bool = False) -> Laid:
    """Make and mend what is wanted, in its order.

    :param check: touch nothing, say what would be done.
    :raises UsageError: something else lies at a path, or there is no such user; what comes before
        it is done.
    :raises PostgresBackupError: it could not be written.
    """
    differences: list[Difference] = []
    for one in wanted:
        try:
            if one.folder:
                differences += _lay_folder(one, check)
            else:
                differences += _lay_file(one, check)
        except OSError as error:
            raise PostgresBackupError(
                f"Failed to write {one.path}: {error.strerror or error}",
                f"Look at what lies there: ls -ld {shlex.quote(one.path)}",
            ) from error
    files = [one["after_header"] for one in differences]
    return {"changed": bool(files), "files": list(dict.fromkeys(files)), "diff": differences}


def lines(laid: Laid, check: bool) -> list[str]:
    """The same for a person."""
    verb = "Would write" if check else "Wrote"
    return [f"{verb} {path}" for path in laid["files"]] or ["Every file is as it should be."]


def _lay_folder(one: Wanted, check: bool) -> list[Difference]:
    _refuse_foreign_links(one.path)
    found = _stat(one.path)
    if found is not None:
        if not stat.S_ISDIR(found.st_mode):
            raise UsageError(
                f"Failed to make the folder {one.path}: something else has its name",
                f"Look at it, and move it away: ls -ld {shlex.quote(one.path)}",
            )
        return _mend(Wanted(one.path, one.mode) if one.keeps else one, found, check)
    if not check:
        _make(one.path, one)
    return [_difference(one.path, "", "a folder\n" + _words(one))]


def _make(folder: str, like: Wanted) -> None:
    """A folder, and those above it that are missing."""
    missing: list[str] = []
    while _stat(folder) is None:
        missing.insert(0, folder)
        folder = os.path.dirname(folder)
    for path in missing:
        # nobody but us may enter until it is as it should be
        os.mkdir(path, 0o700)
        _mend(Wanted(path, like.mode, like.owner, like.group), os.stat(path), False)


def _lay_file(one: Wanted, check: bool) -> list[Difference]:
    _refuse_foreign_links(os.path.dirname(one.path))
    found = _stat(one.path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise UsageError(
            f"Failed to write {one.path}: something that is no file has its name",
            f"Look at it, and move it away: ls -ld {shlex.quote(one.path)}",
        )
    data = None if one.content is None else one.content.encode()
    if found is None:
        data = data or b""
    before = b"" if found is None else _read(one.path) if data is not None else None
    if data is None or (found is not None and data == before):
        assert found is not None  # what is made has content
        return _mend(one, found, check)
    if not check:
        owner = _uid(one.owner) if one.owner else found.st_uid if found else os.geteuid()
        group = _gid(one.group) if one.group else found.st_gid if found else os.getegid()
        if one.parents:
            _make(os.path.dirname(one.path), Wanted(one.path, 0o755, one.owner, one.group))
        sweep_halves(one.path)
        replace_file(one.path, data, one.mode, owner=(owner, group))
    if one.secret:
        was = "" if found is None else _HIDDEN.format("was")
        return [_difference(one.path, was, _HIDDEN.format("is"))]
    was = "" if before is None else before.decode(errors="replace")
    # an empty file that is made is a change too
    return [_difference(one.path, was, data.decode() or _words(one))]


def _read(path: str) -> bytes | None:
    """What a file holds; None where it is so much that it cannot be one of ours."""
    try:
        return read_bounded(path, _LIMIT)[0]
    except UsageError:
        return None


def _mend(one: Wanted, found: os.stat_result, check: bool) -> list[Difference]:
    """Owner, group and mode of something that is there."""
    now = Wanted(one.path, stat.S_IMODE(found.st_mode), _name_of(found, one), _group_of(found, one))
    if (now.mode, now.owner, now.group) == (one.mode, one.owner, one.group):
        return []
    if not check:
        kind = os.O_DIRECTORY if stat.S_ISDIR(found.st_mode) else os.O_NONBLOCK
        handle = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC | kind)
        try:
            if not os.path.samestat(os.fstat(handle), found):
                raise OSError(f"{one.path} was replaced meanwhile")
            owner = _uid(one.owner) if one.owner else -1
            group = _gid(one.group) if one.group else -1
            os.fchown(handle, owner, group)
            os.fchmod(handle, one.mode)
        finally:
            os.close(handle)
    return [_difference(one.path, _words(now), _words(one))]


def _refuse_foreign_links(folder: str) -> None:
    """Root would be led wherever the user likes who owns a link in the way.

    :raises UsageError: there is such a link.
    """
    path = "/"
    for name in folder.split("/"):
        path = os.path.join(path, name)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid()):
            raise UsageError(
                f"Failed to write below {path}: it is a link of another user's",
                f"If it may stay, make it root's: chown -h root {shlex.quote(path)}",
            )


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _name_of(found: os.stat_result, one: Wanted) -> str:
    """The owner's name, if anything is asked of it."""
    if not one.owner:
        return ""
    try:
        return pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        return str(found.st_uid)


def _group_of(found: os.stat_result, one: Wanted) -> str:
    if not one.group:
        return ""
    try:
        return grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return str(found.st_gid)


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(
            f"Failed to give a file to {name}: there is no such user",
            f"Make it, or name another: useradd --system {name}",
        ) from None


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UsageError(
            f"Failed to give a file to {name}: there is no such group",
            f"Make it, or name another: groupadd --system {name}",
        ) from None


def _words(one: Wanted) -> str:
    told = {"owner": one.owner, "group": one.group, "mode": f"{one.mode:04o}"}
    return "".join(f"{name}: {value}\n" for name, value in told.items() if value)


def _difference(path: str, before: str, after: str) -> Difference:
    return {"before": before, "after": after, "before_header": path, "after_header": path}
