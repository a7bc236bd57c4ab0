"""How the tests are shared out among workers that run at the same time (``-n 4 --dist loadgroup``).

Each worker has servers, buckets and a lab of its own, so that two tests meet nowhere. What needs
more is said here: which tests stay together, what begins first, and who has the machine to himself.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

#: folders of tests in the order in which one process runs them: cheap ones first, for a slip in a
#: pure function shows before any server starts
FLOORS = ("unit", "roles", "playbooks", "library", "integration", "browser", "servers")
#: what takes longest, in the order in which workers begin it; then the floors from the top. Two
#: labs at first: servers that install packages keep processors busy, other tests mostly wait
LONGEST = (
    "servers/test_recovery.py",
    "servers/first_day",
    "integration/test_demo.py",
    "integration/test_readme.py",
    "integration/nightly/test_watch.py",
    "servers/test_rebuild.py",
    "servers/test_many.py",
    "servers/test_app.py",
    "servers",
    "browser",
    "roles/test_roles.py",
    "playbooks/test_playbooks.py",
)
ALONE = "alone"


def folder(config: pytest.Config) -> Path:
    """What the workers of all runs in this checkout share, pytest's cache or not."""
    if hasattr(config, "cache"):
        return config.cache.mkdir("turn")
    shared = config.rootpath / ".pytest_cache" / "d" / "turn"
    shared.mkdir(parents=True, exist_ok=True)
    return shared


def _groups_of(config: pytest.Config, workerinput: Mapping[str, str]) -> Path:
    return folder(config) / f"groups-{workerinput['testrunuid']}.json"


def arrange(config: pytest.Config, items: list[pytest.Item], tests: Path) -> None:
    """Put tests in order and, where there are workers, into groups: a group runs on one worker.

    A test that shares something made for its module stays with the others of its file, or of its
    folder, and all that need the machine to themselves are one group, the last.
    """
    files = {path: _file(path, tests) for path in {item.path for item in items}}
    if not hasattr(config, "workerinput"):
        items.sort(key=lambda item: _floor(files[item.path]))
        return
    groups = {item.nodeid: group for item in items if (group := _group(item, files[item.path]))}
    path = _groups_of(config, config.workerinput)
    mine = path.with_name(f"{path.name}-{config.workerinput['workerid']}")
    mine.write_text(json.dumps(groups))
    mine.replace(path)  # every worker says the same
    items.sort(key=lambda item: _turn(item, files[item.path]))


def _group(item: pytest.Item, file: str) -> str:
    """The name of its group; empty where it may run wherever a worker is free."""
    if item.get_closest_marker(ALONE):
        return ALONE
    if mark := item.get_closest_marker("xdist_group"):
        return mark.args[0]
    definitions = item._fixtureinfo.name2fixturedefs.values()
    scopes = {found.scope for each in definitions for found in each}
    if "package" in scopes:
        return file.rpartition("/")[0]
    return file if scopes & {"class", "module"} else ""


def _file(path: Path, tests: Path) -> str:
    return str(path.relative_to(tests)) if path.is_relative_to(tests) else path.name


def _floor(file: str) -> int:
    folder = file.partition("/")[0]
    return FLOORS.index(folder) if folder in FLOORS else FLOORS.index("integration")


def _turn(item: pytest.Item, file: str) -> tuple[bool, int, int]:
    known = (number for number, start in enumerate(LONGEST) if file.startswith(start))
    alone = item.get_closest_marker(ALONE) is not None
    return alone, next(known, len(LONGEST)), -_floor(file)


class Scheduling(LoadScopeScheduling):
    """Hands out groups and single tests in the order of the workers' collection.

    xdist's own way leaves the name of a group in the test's id, where pytest 9.2 does not read it
    any more: every test would be a group of its own, silently.
    """

    _groups: Mapping[str, str] | None = None

    def schedule(self) -> None:
        self.config.option.loadscopereorder = False  # the order says what takes longest
        if self._groups is None:  # the workers have collected, and said so
            path = _groups_of(self.config, self.nodes[0].workerinput)
            # a file that does not exist was named: nobody has collected anything
            self._groups = json.loads(path.read_text()) if path.exists() else {}
            path.unlink(missing_ok=True)
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return (self._groups or {}).get(nodeid, nodeid)


@contextlib.contextmanager
def collecting(config: pytest.Config) -> Iterator[None]:
    """On a machine where the tests never ran, the first worker collects before the others.

    It compiles all that is imported, two thirds of the work, and each would do that for itself.
    """
    done = folder(config) / "compiled"
    if done.exists():
        yield
        return
    with open(folder(config) / "collecting", "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
        done.touch()


@contextlib.contextmanager
def kept_for_good() -> Iterator[None]:
    """What collecting makes (modules, thousands of tests) stays to the end: Python looks for no
    garbage in it, neither meanwhile nor at each of its looks that come later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def turn(config: pytest.Config, alone: bool) -> Iterator[None]:
    """Wait until a test may run: beside others, or ``alone``, when no other worker runs one.

    Who comes waits at the door, so that one who wants to be alone is not passed by for ever. The
    kernel gives back what a killed worker held.
    """
    with (
        open(folder(config) / "door", "w", encoding="utf-8") as door,
        open(folder(config) / "machine", "w", encoding="utf-8") as machine,
    ):
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:  # by name: a process that a test left forked off would hold it on
            fcntl.flock(machine, fcntl.LOCK_UN)
