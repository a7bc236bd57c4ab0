"""The backup scripts that run on this machine tonight: in crontabs of users and of the system, in
the folders of run-parts, by systemd's timers. Only looked at; nothing is touched.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

from . import crontabs, times
from .scripts import HOST, LOG, PORT, Script, first, read_script, text_of

Kind = Literal["cron", "folder", "timer"]
Verdict = Literal["ours", "other", "unknown", "more"]
#: names of files that cron and run-parts run: not those that packages leave behind
_RUN = re.compile(r"[A-Za-z0-9_-]+")
#: what a config of ours says in its first line, since 0.1.0
CONFIG_MARK = "ansible-playbook setup.yml"
_WHAT_COMES: dict[Verdict, str] = {
    "ours": "It goes on until the first new backup is proven, and is switched off then.",
    "other": "It goes on: it backs up another database than backup_databases names here.",
    "unknown": "It goes on, for nothing says which database it backs up. Is it one of these? Then"
    " switch it off by hand when the first new backup is there.",
    "more": "It goes on, for its line does more than back up. Take the script out of the line by"
    " hand when the first new backup is there.",
}
#: names under which a server knows itself
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Places:
    """Where a machine says what it runs by itself."""

    users: str = "/var/spool/cron/crontabs"
    system: tuple[str, ...] = ("/etc/crontab", "/etc/cron.d")
    folders: tuple[str, ...] = (
        "/etc/cron.hourly",
        "/etc/cron.daily",
        "/etc/cron.weekly",
        "/etc/cron.monthly",
    )
    units: tuple[str, ...] = ("/etc/systemd/system",)


class Schedule(TypedDict):
    """Something that runs a backup script by itself.

    ``path`` is the crontab, the file in a folder of run-parts, or the timer; ``line`` the crontab's
    line, else empty. ``verdict``: ``ours`` backs up a database of ours, and makes way; ``other``
    backs up another; ``unknown`` does not say which; ``more`` does something else too. The last
    three go on. ``at`` is its time of day in UTC where it runs once a day, else empty.
    """

    kind: Kind
    path: str
    line: str
    user: str
    when: str
    at: str
    script: str
    config: str
    log: str
    verdict: Verdict


@dataclass(frozen=True)
class Ours:
    """What we back up, by which a script is known to be our predecessor."""

    databases: Sequence[str]
    host: str
    port: int


def find(ours: Ours, places: Places | None = None) -> list[Schedule]:
    """Every schedule of a backup script, in a steady order.

    Of another user's files it is read only what root may read; what cannot be read is passed by.
    """
    places = places or Places()
    here = datetime.now().astimezone()
    found = [*_in_crontabs(ours, places), *_in_folders(ours, places), *_of_timers(ours, places)]
    for one in found:
        # the folders of run-parts have a time in /etc/crontab, or anacron's
        one["at"] = "" if one["kind"] == "folder" else times.in_utc(one["when"], here)
    return sorted(found, key=lambda one: (one["kind"], one["path"], one["line"]))


def _in_crontabs(ours: Ours, places: Places) -> Iterator[Schedule]:
    for path, user in _crontabs(places):
        text = text_of(path, "surrogateescape") or ""
        for line in crontabs.lines_of(path, text, user):
            if script := _called_by(line.command):
                found = _schedule("cron", path, script, ours, line.command)
                yield {**found, "line": line.text, "user": line.user, "when": line.when}


def _called_by(command: str) -> Script | None:
    """The backup script that a command runs; None where it runs none."""
    return next(filter(None, map(read_script, crontabs.called(command))), None)


def _schedule(kind: Kind, path: str, script: Script, ours: Ours, command: str = "") -> Schedule:
    """What runs a script as root.

    :param command: by which it is called; empty: it is called alone.
    """
    more = crontabs.does_more(command, script.path) if command else False
    return {
        "kind": kind,
        "path": path,
        "line": "",
        "user": "root",
        "when": "",
        "at": "",
        "script": script.path,
        "config": script.config,
        "log": crontabs.log_of(command) or first(script.values, LOG),
        "verdict": "more" if more else _verdict(script, ours),
    }


def _crontabs(places: Places) -> Iterator[tuple[str, str]]:
    """Each with its user; the system's have none."""
    for name in _names(places.users):
        yield os.path.join(places.users, name), name
    for place in places.system:
        if os.path.isdir(place):
            for name in filter(_RUN.fullmatch, _names(place)):
                yield os.path.join(place, name), ""
        else:
            yield place, ""


def _in_folders(ours: Ours, places: Places) -> Iterator[Schedule]:
    for folder in places.folders:
        for name in filter(_RUN.fullmatch, _names(folder)):
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK) and (script := read_script(path)):
                when = folder.rpartition(".")[2]
                yield {**_schedule("folder", path, script, ours), "when": when}


def _of_timers(ours: Ours, places: Places) -> Iterator[Schedule]:
    for folder in places.units:
        for name in _names(folder):
            timer = os.path.join(folder, name)
            if not name.endswith(".timer") or (said := text_of(timer)) is None:
                continue
            unit = _said(said, "Unit") or name.removesuffix(".timer") + ".service"
            service = text_of(os.path.join(folder, os.path.basename(unit))) or ""
            command = _said(service, "ExecStart").lstrip("-@:+!|")
            if (script := _called_by(command)) and _is_on(name):
                found = _schedule("timer", timer, script, ours, command)
                user, when = _said(service, "User") or "root", _said(said, "OnCalendar")
                yield {**found, "user": user, "when": when}


def _is_on(timer: str) -> bool:
    """Whether systemd starts what a timer names, now or after the next boot."""
    return is_said("is-active", timer) or is_said("is-enabled", timer)


def is_said(question: str, unit: str) -> bool:
    """What systemctl answers to ``is-active`` or ``is-enabled``."""
    words = ["systemctl", "--quiet", question, unit]
    return subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _verdict(script: Script, ours: Ours) -> Verdict:
    """Whether it backs up what we do. What is not known goes on: a night too many is told the next
    morning, a night too few is lost.
    """
    if not script.databases:
        return "unknown"
    if not script.databases & set(ours.databases):
        return "other"
    host, port = first(script.values, HOST) or "localhost", first(script.values, PORT) or "5432"
    return "ours" if (_place(host), port) == (_place(ours.host), str(ours.port)) else "other"


def _place(host: str) -> str:
    return "localhost" if host in _HERE or host.startswith("/") else host


def _said(unit: str, name: str) -> str:
    """The last value of a name in a unit's file."""
    found = re.findall(rf"^{name}\s*=\s*(.+?)\s*$", unit, re.MULTILINE)
    return str(found[-1]) if found else ""


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def is_foreign(config: str) -> bool:
    """Whether something else than a config of ours lies at its place."""
    return os.path.lexists(config) and CONFIG_MARK not in (text_of(config) or "")


def lines(found: Sequence[Schedule], foreign_config: str, our_time: str = "") -> list[str]:
    """What was found, for a person, and what will come of it.

    :param our_time: when ours runs, ``HH:MM`` in UTC; empty: that is not known.
    """
    told = []
    for one in found:
        told.append(f"Found: {named(one)}")
        told.append(f"  {_WHAT_COMES[one['verdict']]}")
        if our_time and one["verdict"] == "ours" and one["at"] != our_time:
            told.append(f"  {_another_time(one, our_time)}")
    if foreign_config:
        told.append(
            f"Found: {foreign_config}, which is none of ours. It stays as it is until the first"
            " new backup is proven, and is kept after that."
        )
    return told


def _another_time(one: Schedule, our_time: str) -> str:
    ours = f"ours runs at {our_time} UTC (backup_schedule_time)"
    if one["at"]:
        keep = f'backup_schedule_time: "{one["at"]}"'
        return f"It runs at {one['at']} UTC, and {ours}; to keep the time: {keep}"
    return f"When it runs ({one['when']}) is no one time of each day; {ours}."


def named(one: Schedule) -> str:
    """A schedule for a person; without its command, which may hold a secret."""
    by = {"cron": f"in {one['path']}", "folder": f"as {one['path']}", "timer": f"by {one['path']}"}
    when = f" ({one['when']})" if one["when"] else ""
    return f"{one['script']} {by[one['kind']]}{when}, as {one['user']}"
