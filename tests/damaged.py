"""What may lie in the place of a file of the state: after a power cut, a disk that went bad, a
restore of the machine by other hands.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

from postgres_backup.settings import Settings


def spoil(chance: random.Random, data: bytearray) -> None:
    """Flip a bit, cut the end off, or put some bytes in, at a random place of what has any."""
    at = chance.randrange(len(data))
    match chance.randrange(3):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:]
        case 2:
            data[at:at] = chance.randbytes(chance.randrange(1, 60))


def _half(path: Path) -> None:
    path.write_text('{"open": {"a')


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(4096))


def _another_shape(path: Path) -> None:
    path.write_text("[1]")


def _null_within(path: Path) -> None:
    """Each of the names that one of ours begins with, and of a database."""
    names = "open over good failures pruned planned started_at databases since crm readings of"
    nulls = ", ".join(f'"{name}": null' for name in (*names.split(), "needs", "heard"))
    path.write_text("{" + nulls + ', "watched_at": 1}')


def _too_deep(path: Path) -> None:
    path.write_text('{"a":' * 100_000)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "a file of somebody").write_text("x")


def _dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere" / "x")


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    # by its own folder: the name of a socket has at most 108 letters
    here = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


#: what it is -> how it is made
CONTENTS = {
    "half of it": _half,
    "zeros": _zeros,
    "another shape": _another_shape,
    "null within": _null_within,
    "too deep": _too_deep,
    "a folder": _folder,
    "a dangling link": _dangling_link,
    "a link to itself": _link_to_itself,
    "a pipe": _pipe,
    "a socket": _socket,
}


def damage(settings: Settings, name: str, content: str) -> Path:
    """Put it in the place of a file of the state; where that is."""
    path = Path(settings.state_dir, name)
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        path.unlink()
    CONTENTS[content](path)
    return path
