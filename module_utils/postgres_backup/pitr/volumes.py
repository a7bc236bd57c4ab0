"""The data of a PostgreSQL in a container, for others: the folders in which Docker has two volumes
change places, and the volumes keep their names, so nothing that its owner wrote need change.

They are renamed by a container of the live one's image, for who may ask Docker may not go there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import TypedDict

from ..errors import DatabaseError, PostgresBackupError, UsageError
from ..machine import lock
from ..machine.patience import wait_until
from ..settings import Settings
from ..shapes.reader import Unfit, fitted, load
from . import at_rest, boxed, docker

#: seconds until PostgreSQL answers after a start
_PATIENCE = 120
#: seconds that it has for a stop in good order
_STOP = "600"
_WANTED = (
    '{"driver": {{json .Driver}}, "options": {{json .Options}}, "place": {{json .Mountpoint}}}'
)
#: out of the first into the second, which is empty or not there, and out of the third into the
#: first, where nothing need be copied; what failed half way is taken back
_RENAME = """
for one in "$1" "${1%/*}" "${2%/*}" "$3" "${3%/*}"; do
    [ "$(stat -c %d "$one")" = "$(stat -c %d /volumes)" ] || { echo "$one has a disk of its own" >&2
        exit 1; }
done
mv -T "$1" "$2"
mv -T "$3" "$1" || { mv -T "$2" "$1"; mkdir "$2"; exit 1; }
sync"""


class _Volume(TypedDict):
    driver: str
    options: dict[str, str] | None
    place: str


class _Place(TypedDict):
    """The live one's ``volume``, and Docker's ``folder`` of all volumes."""

    volume: str
    folder: str


def find(settings: Settings, directory: str) -> _Place:
    """The volume of the live one's data, where it can be exchanged.

    :param directory: of the data, as PostgreSQL has it.
    :raises UsageError: it cannot.
    """
    live = docker.ask(settings)
    place = place_of(settings, live, directory)
    volume, name = place["volume"], settings.db_container
    if live["removed"]:
        raise _refused(settings, f"{name} is removed by Docker when it stops (--rm)")
    words = ("ps", "--filter", f"volume={volume}", "--format", "{{.Names}}")
    others = set(docker.do(_failing(settings), *words).split()) - {name}
    if others:
        raise _refused(settings, f"{volume} is in use by {min(others)} too")
    return place


def place_of(settings: Settings, live: docker.Live, directory: str) -> _Place:
    """The volume in which a container has the data.

    :param live: that container; ``directory`` of the data in it.
    :raises UsageError: they lie in none whose data can be exchanged.
    """
    where = docker.data_place(live["mounts"], directory)
    inside = [one for one in live["mounts"] if f"{one['Destination']}/".startswith(f"{where}/")]
    if [one["Type"] for one in inside] != ["volume"]:
        name = settings.db_container
        raise _refused(settings, f"the data of {name} are not in one volume of Docker's alone")
    volume = inside[0].get("Name", "")
    return {"volume": volume, "folder": _folder(settings, volume)}


def kept_path(settings: Settings, folder: str, kind: str, at: str) -> str:
    """Where the data go that make room; the volume is named after the container."""
    return os.path.join(folder, f"{settings.db_container}_{kind}_{at}", "_data")


def name_of(path: str) -> str:
    """Of the volume whose data lie there."""
    return os.path.basename(os.path.dirname(path))


def require_kept(settings: Settings, folder: str, path: str) -> str:
    """The volume of what was kept.

    :raises UsageError: it is none.
    """
    name = name_of(path)
    form = rf"{re.escape(settings.db_container)}_(before|undone)_[0-9_-]+"
    if path != os.path.join(folder, name, "_data") or not re.fullmatch(form, name):
        raise UsageError(
            f"{path} is no volume that a promotion has kept",
            "docker volume ls shows them; kept= is the whole path, as the promotion said it",
        )
    _folder(settings, name)
    return name


def exchange(settings: Settings, incoming: str, kept: str) -> None:
    """The data of the one volume take the place of the live one's, which go into a new one;
    PostgreSQL is stopped for that and started with them.

    :param incoming: the name of a volume; it is gone then.
    :param kept: of :func:`kept_path`.
    :raises PostgresBackupError: it was not done, and PostgreSQL runs with its data as they were; or
        it does not run, which the error says.
    """
    failing = _failing(settings)
    with lock.hold(settings, "recovery", "promotion"):
        place = find(settings, at_rest.ask(settings)[0].data_directory)
        new = name_of(kept)
        if kept != os.path.join(place["folder"], new, "_data"):
            raise _refused(settings, f"{kept} is none of its volumes")
        if _folder(settings, incoming) != place["folder"]:
            raise _refused(settings, f"{incoming} lies elsewhere")
        docker.do(failing, "volume", "create", "--label", f"postgres-backup.kept={new}", new)
        # no volume is removed here: nobody knows what is in it
        with _else(settings, lambda: None):
            _stop(settings)
            _rename(settings, place, new, incoming)

        def take_back() -> None:
            _stop(settings)
            _rename(settings, place, incoming, new)
            docker.do(failing, "volume", "rm", new)

        with _else(settings, take_back):
            _start(settings)
            _await(settings)
        # it has no data any more, and the exchange stands
        with contextlib.suppress(PostgresBackupError):
            docker.do(failing, "volume", "rm", incoming)


@contextlib.contextmanager
def _else(settings: Settings, take_back: Callable[[], None]) -> Iterator[None]:
    """What fails is taken back, and PostgreSQL started with its data as they were."""
    try:
        yield
    except BaseException as error:
        take_back()
        _start(settings)
        if not isinstance(error, PostgresBackupError):
            raise
        told = f"{error.message}; PostgreSQL runs with its data as they were"
        why = f"docker logs {settings.db_container} says more; {_by_hand()}"
        raise PostgresBackupError(told, why) from error


def _await(settings: Settings) -> None:
    def answers() -> bool:
        with contextlib.suppress(DatabaseError):
            at_rest.ask(settings)
            return True
        return False

    if not wait_until(answers, _PATIENCE):
        name = settings.db_container
        raise PostgresBackupError(
            f"Failed to exchange the data in the container {name}: it does not answer with them",
            f"docker logs {name} says why",
        )


def _stop(settings: Settings) -> None:
    words = ("stop", "-t", _STOP, "--", settings.db_container)
    docker.do(_failing(settings), *words, patience=None)


def _start(settings: Settings) -> None:
    docker.do(_failing(settings), "start", "--", settings.db_container)


def _rename(settings: Settings, place: _Place, kept: str, incoming: str) -> None:
    """``incoming`` has no data afterwards."""
    paths = [f"/volumes/{name}/_data" for name in (place["volume"], kept, incoming)]
    docker.do(
        _failing(settings),
        *("run", "--rm", "-u", "0", "--network", "none", "--entrypoint", "sh"),
        *("--mount", f"type=bind,source={place['folder']},target=/volumes"),
        docker.ask(settings)["image"],
        *("-ec", _RENAME, "sh", *paths),
    )


def _folder(settings: Settings, volume: str) -> str:
    """In which Docker has that volume among the others.

    :raises UsageError: it lies elsewhere.
    """
    failing = _failing(settings)
    told = docker.do(failing, "volume", "inspect", "--format", _WANTED, "--", volume)
    try:
        found = fitted(load(told.encode()), _Volume)
    except Unfit as error:
        raise PostgresBackupError(f"{failing}{error}", _by_hand()) from None
    folder = os.path.dirname(os.path.dirname(found["place"]))
    plain = re.fullmatch(r"/[A-Za-z0-9._/-]+", folder) and found["driver"] == "local"
    if not plain or found["options"] or found["place"] != os.path.join(folder, volume, "_data"):
        raise _refused(settings, f"{volume} is not on a disk of Docker's own")
    return folder


def _failing(settings: Settings) -> str:
    return f"Failed to exchange the data in the container {settings.db_container}: "


def _by_hand() -> str:
    return f"{boxed.PAGE}, has each command: All of it in its place"


def _refused(settings: Settings, why: str) -> UsageError:
    return UsageError(f"{_failing(settings)}{why}", _by_hand())
