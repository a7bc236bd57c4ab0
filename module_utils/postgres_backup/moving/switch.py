"""From the old scripts' schedule to ours in one step, and back again.

What is done is written down first, in a folder that is root's alone: a step that was cut off is
finished, or taken back, by the next call. The new schedule lies before the old one is switched
off, so that between the two a night is taken twice and never not at all.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypedDict

from ..clock import format_timestamp, utc_now
from ..errors import PostgresBackupError, UsageError
from ..findings import Finding, finding
from ..machine import laid
from ..machine.files import read_bounded, replace_file, sync_folder
from ..shapes.kinds import Moment, OneOf, Text
from ..shapes.reader import Unfit, fitted, load
from .found import Schedule, is_said, named

#: what a crontab's line begins with that we have switched off, and the line above it
OFF = "#switched-off# "
#: what follows the name of a file that lay where one of ours had to
OLD, UNDONE = ".of-the-scripts", ".of-postgres-backup"
_LARGEST = 1 << 20


class _Off(TypedDict):
    """A schedule that was switched off; a crontab's by its line. A timer's ``line`` is what is
    said to ``systemctl`` to bring it back; of a record of before that was written down it is empty.
    """

    kind: Annotated[str, OneOf("cron", "folder", "timer")]
    path: Annotated[str, Text(4096)]
    line: Annotated[str, Text(100_000)]
    above: Annotated[str, Text(1000)]


class _Folder(TypedDict):
    path: Annotated[str, Text(4096)]
    owner: int
    group: int
    mode: int


class _Moved(TypedDict):
    """A file that was made beside, and has taken its place."""

    made: Annotated[str, Text(4096)]
    path: Annotated[str, Text(4096)]


class Record(TypedDict, total=False):
    """What a switch has done, or was about to do.

    ``aside``: files that lay where ours do; each is kept under its name and :data:`OLD`. ``ours``:
    the files that run us by themselves. ``folders``: as they were before they became ours.
    """

    at: Annotated[str, Moment()]
    off: list[_Off]
    moved: list[_Moved]
    aside: list[str]
    ours: list[str]
    folders: list[_Folder]


class Switched(TypedDict):
    """``schedules``: those that were switched off, or on again, as they are named to a person;
    ``aside``: the files that were moved out of the way, or back.
    """

    changed: bool
    schedules: list[str]
    aside: list[str]
    findings: list[Finding]


@dataclass(frozen=True)
class Wanted:
    """What the switch is to lead to.

    :param found: what :func:`.found.find` has found.
    :param staged: the folder in which config and keys were made, because something else lay at
        their place; empty where nothing did.
    :param config: where the config goes.
    :param log: our log.
    :param files: those that run us by themselves, and the folders that they need, in their order.
    :param record: where it is written down, in a folder that only root may write.
    """

    found: Sequence[Schedule]
    staged: str
    config: str
    log: str
    files: Sequence[laid.Wanted]
    record: str


def switch(wanted: Wanted, check: bool = False) -> Switched:
    """Our schedule takes the place of the old scripts'.

    :raises PostgresBackupError: something could not be written; what was done stands in the record.
    """
    off = [one for one in wanted.found if one["verdict"] == "ours"]
    moved = _staged(wanted)
    aside = _in_the_way(wanted, off, moved)
    result: Switched = {
        "changed": bool(off or moved),
        "schedules": [named(one) for one in off],
        "aside": aside,
        "findings": [],
    }
    if check or not result["changed"]:
        return result
    try:
        lines = [_off(one) for one in off if one["path"] not in aside]
        _remember(wanted, lines, moved, aside)
        for path in aside:
            _keep(path, path + OLD)
        laid.lay([one for one in wanted.files if one.folder])
        for one in moved:
            os.replace(one["made"], one["path"])
        # whoever still writes into the old log goes on with it under its new name
        if wanted.log in aside:
            os.unlink(wanted.log)
        laid.lay([one for one in wanted.files if not one.folder])
        for line in lines:
            _switch_off(line)
    except OSError as error:
        raise _failed("switch over", error) from error
    return result


def undo(record: str, check: bool = False) -> Switched:
    """Everything as it was before: the old schedules run again, ours does not.

    :raises UsageError: nothing was switched here, or the record cannot be believed.
    :raises PostgresBackupError: something could not be written; typed again it goes on.
    """
    written = read(record)
    if not written:
        raise UsageError(
            "There is nothing to undo: no old script was switched off on this server",
            "What runs by itself: crontab -l, ls /etc/cron.d, systemctl list-timers",
        )
    lines, aside = written.get("off", []), written.get("aside", [])
    result: Switched = {
        "changed": True,
        "schedules": [
            f"{one['path']}: {one['line'] if one['kind'] == 'cron' else one['kind']}"
            for one in lines
        ],
        "aside": aside,
        "findings": [],
    }
    if check:
        return result
    try:
        for one in written.get("moved", []):
            # where it is there again, an earlier call has moved it: its place is the old one's
            if os.path.exists(one["path"]) and not os.path.exists(one["made"]):
                os.rename(one["path"], one["made"])
        for path in aside:
            if os.path.exists(path + OLD):
                if os.path.exists(path):
                    os.rename(path, path + UNDONE)
                os.rename(path + OLD, path)
        for folder in written.get("folders", []):
            os.chown(folder["path"], folder["owner"], folder["group"])
            os.chmod(folder["path"], folder["mode"])
        for line in lines:
            if not _switch_on(line):
                result["findings"].append(_changed(line))
        for path in set(written.get("ours", [])) - set(aside):
            if os.path.exists(path):
                os.unlink(path)
        os.unlink(record)
    except OSError as error:
        raise _failed("switch back", error) from error
    return result


def read(record: str) -> Record:
    """What a switch has written down; empty where there was none.

    :raises UsageError: it is not root's alone, or of another shape.
    """
    try:
        data, mode = read_bounded(record, _LARGEST)
        if os.stat(record).st_uid != os.geteuid() or mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Unfit("others may write it")
        return fitted(load(data, any_letters=True), Record)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _failed(f"read {record}", error) from error
    except Unfit as error:
        raise UsageError(
            f"Failed to read {record}: {error}",
            f"Switch by hand: in the crontab take {OFF.strip()} away, and the line above it",
        ) from None


def lines(done: Switched, undone: bool, check: bool) -> list[str]:
    """The same for a person."""
    verb = "Would switch" if check else "Switched"
    told = [f"{verb} {'on again' if undone else 'off'}: {one}" for one in done["schedules"]]
    for path in done["aside"]:
        if undone:
            told.append(f"{'Would put back' if check else 'Put back'}: {path}")
        else:
            told.append(f"{'Would keep' if check else 'Kept'} as {path}{OLD}: what lay there")
    return told or ["Nothing of older scripts runs here."]


def _staged(wanted: Wanted) -> list[_Moved]:
    """The files of the staged folder, and their places; the config, which makes the rest count,
    last.
    """
    if not wanted.staged or not os.path.isdir(wanted.staged):
        return []
    folder, last = os.path.dirname(wanted.config), os.path.basename(wanted.config)
    names = [one.name for one in os.scandir(wanted.staged) if one.is_file(follow_symlinks=False)]
    return [
        {"made": os.path.join(wanted.staged, name), "path": os.path.join(folder, name)}
        for name in sorted(names, key=lambda name: (name == last, name))
    ]


def _in_the_way(wanted: Wanted, off: Sequence[Schedule], moved: Sequence[_Moved]) -> list[str]:
    """The files of others at the places of ours: of the config's folder, the log that an old
    schedule writes, the crontab that it stands in.
    """
    theirs = {one["log"] for one in off} | {one["path"] for one in off}
    places = [wanted.log, *(one.path for one in wanted.files if not one.folder)]
    found = [one["path"] for one in moved] + [path for path in places if path in theirs]
    return [path for path in dict.fromkeys(found) if os.path.exists(path)]


def _off(one: Schedule) -> _Off:
    at = format_timestamp(utc_now())
    above = f"# {at} postgres-backup takes the nightly backup now, and has switched"
    return {
        "kind": one["kind"],
        "path": one["path"],
        "line": _way_back(one["path"]) if one["kind"] == "timer" else one["line"],
        "above": f"{above} this off. Back: playbooks/adopt.yml -e adopt=undo",
    }


def _remember(wanted: Wanted, off: list[_Off], moved: list[_Moved], aside: list[str]) -> None:
    """Write down what will be done, on top of what an earlier call has done."""
    before = read(wanted.record)
    folders: list[_Folder] = list(before.get("folders", []))
    known = {folder["path"] for folder in folders}
    for path in (one.path for one in wanted.files if one.folder and os.path.isdir(one.path)):
        found = os.stat(path)
        mode = stat.S_IMODE(found.st_mode)
        if path not in known:
            folders.append(
                {"path": path, "owner": found.st_uid, "group": found.st_gid, "mode": mode}
            )
    ours = [one.path for one in wanted.files if not one.folder and one.path != wanted.log]
    record: Record = {
        "at": format_timestamp(utc_now()),
        "off": before.get("off", []) + off,
        "moved": before.get("moved", []) + moved,
        "aside": list(dict.fromkeys([*before.get("aside", []), *aside])),
        "ours": list(dict.fromkeys([*before.get("ours", []), *ours])),
        "folders": folders,
    }
    replace_file(wanted.record, json.dumps(record).encode(), 0o600, sync=True)
    sync_folder(wanted.record)


def _keep(path: str, kept: str) -> None:
    """Under a second name; what lies under that already is of a call that was cut off."""
    if not os.path.exists(kept):
        os.link(path, kept, follow_symlinks=False)


def _switch_off(one: _Off) -> None:
    if one["kind"] == "timer":
        # in two steps: with a linked one `disable --now` takes the file away before it stops it
        _systemctl("stop", os.path.basename(one["path"]))
        if "enable" in one["line"].split():
            _systemctl("disable", os.path.basename(one["path"]))
    elif one["kind"] == "folder":
        os.rename(one["path"], one["path"] + OLD)
    else:
        off = f"{one['above']}\n{OFF}{one['line']}"
        _rewrite(one["path"], one["line"], off)


def _switch_on(one: _Off) -> bool:
    """False where the crontab has changed, and is left as it is."""
    if one["kind"] == "timer":
        unit = os.path.basename(one["path"])
        _systemctl(*(shlex.split(one["line"]) or ("enable", "--now", unit)))
        return True
    if one["kind"] == "folder":
        if os.path.exists(one["path"] + OLD):
            os.rename(one["path"] + OLD, one["path"])
        return os.path.exists(one["path"])
    off = f"{one['above']}\n{OFF}{one['line']}"
    return _rewrite(one["path"], off, one["line"]) or _has(one["path"], one["line"])


def _rewrite(path: str, old: str, new: str) -> bool:
    """Replace whole lines of a crontab; cron sees that its folder has changed. Owner and mode stay.

    :return: whether they were there.
    """
    try:
        data, mode = read_bounded(path, _LARGEST)
    except FileNotFoundError:
        return False
    # with an end before and after, so that a part of a longer line is none
    text = b"\n" + data
    before, after = (b"\n" + _bytes(one) for one in (old, new))
    at = text.find(before + b"\n")
    if at < 0 and text.endswith(before):
        at = len(text) - len(before)
    if at < 0:
        return False
    found = os.stat(path)
    changed = text[:at] + after + text[at + len(before) :]
    replace_file(path, changed[1:], mode, sync=True, owner=(found.st_uid, found.st_gid))
    return True


def _has(path: str, line: str) -> bool:
    try:
        return _bytes(line) in read_bounded(path, _LARGEST)[0].split(b"\n")
    except FileNotFoundError:
        return False


def _bytes(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape")


def _changed(one: _Off) -> Finding:
    return finding(
        "SCHEDULE_CHANGED",
        f"{one['path']} has changed since a line of it was switched off, and was left as it is."
        f" To put it back: remove {OFF.strip()} from that line (crontab -e)",
    )


def _way_back(timer: str) -> str:
    """What makes systemd run a timer as it does now. One that lies elsewhere and is linked into its
    folder is enabled by its path: with ``disable`` the link goes too (systemctl(1)).
    """
    unit = os.path.basename(timer)
    enabled, active = (is_said(question, unit) for question in ("is-enabled", "is-active"))
    if not enabled:
        return shlex.join(["start", unit])
    place = os.path.realpath(timer) if os.path.islink(timer) else unit
    return shlex.join(["enable", *(["--now"] if active else []), place])


def _systemctl(*words: str) -> None:
    done = subprocess.run(
        ["systemctl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise PostgresBackupError(
            f"Failed to switch a timer: systemctl {' '.join(words)}: {said}",
            f"Look at it: systemctl status {shlex.quote(words[-1])}",
        )


def _failed(what: str, error: OSError) -> PostgresBackupError:
    place = f"{error.filename}: " if error.filename else ""
    return PostgresBackupError(
        f"Failed to {what}: {place}{error.strerror or error}",
        "Mend that, and type the same again: it goes on where it has stopped",
    )
