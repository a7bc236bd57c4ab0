"""Archives as nobody's kit has them: names, kinds, links and sizes at random, from few words, so
that they meet.
"""

from __future__ import annotations

import io
import random
import tarfile

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
_WORDS = ("srv", "app", "up", "a", "b", "out", "..", ".", "", "a" * 256)
_WEIGHTS = (6, 8, 4, 6, 6, 2, 0.15, 0.3, 0.1, 0.02)
_KINDS = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    tarfile.CONTTYPE,
)
_OFTEN = (8, 5, 5, 1.5, 0.05, 0.05, 0.03)
#: what the manifests of such kits name
PATHS = (["/srv/app"], ["/srv/app", "/srv/app/up", "/srv/up"], ["/srv/app/a", "/srv/b"], ["/srv"])


def _name(chance: random.Random, start: str) -> str:
    return start + "/".join(chance.choices(_WORDS, _WEIGHTS, k=chance.choice((1, 1, 2, 2, 3))))


def _start(chance: random.Random, named: list[str]) -> str:
    """Mostly below a path."""
    path = chance.choice(named)
    starts = (f"{path[1:]}/", f"{path}/", "", "/", "srv/")
    return chance.choices(starts, (100, 0.5, 0.5, 0.3, 1))[0]


def members(chance: random.Random, named: list[str]) -> list[tuple[tarfile.TarInfo, bytes]]:
    """At most eight, with their data."""
    made = []
    for _ in range(chance.randint(1, 8)):
        info = tarfile.TarInfo(_name(chance, _start(chance, named)))
        info.type = chance.choices(_KINDS, _OFTEN)[0]
        info.mode = chance.choice((0o644, 0o600, 0o755, 0o777, 0o2755, 0o1777, 0o4755, 0))
        if chance.random() < 0.95:
            info.mode &= 0o1777
        if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            starts = ("", "../" * chance.randint(1, 3), "/", _start(chance, named))
            target = _name(chance, chance.choice(starts))
            files = [one.name for one, _ in made if one.type == tarfile.REGTYPE]
            known = files if info.type == tarfile.LNKTYPE else [one.name for one, _ in made]
            info.linkname = chance.choice(known) if known and chance.random() < 0.8 else target
            if info.type == tarfile.SYMTYPE and chance.random() < 0.3:
                info.linkname = f"/{info.linkname}"
        data = bytes(chance.randint(0, 700)) if info.type == tarfile.REGTYPE else b""
        info.size = len(data)
        info.mtime = chance.choice((0, 1_700_000_000, 1_700_000_000.5))
        made.append((info, data))
    return made


def pack(made: list[tuple[tarfile.TarInfo, bytes]], chance: random.Random | None = None) -> bytes:
    """As a tar; now and then damaged, or in another form."""
    form = tarfile.PAX_FORMAT
    if chance and chance.random() < 0.05:
        form = chance.choice((tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    blocks = []
    for info, data in made:
        try:
            blocks.append(info.tobuf(form, "utf-8", "surrogateescape") + data)
        except ValueError:  # this form has no room for the name
            continue
        blocks.append(bytes(-len(data) % 512))
    whole = bytearray(b"".join(blocks) + bytes(1024))
    if chance and chance.random() < 0.1:
        at = chance.randrange(len(whole))
        what = chance.randrange(3)
        if what == 0:
            whole[at] = chance.randrange(256)
        elif what == 1:
            del whole[at:]
        else:
            whole += whole[:at]
    return bytes(whole)


def kit_of(*members: tuple) -> bytes:
    """``(name, type, target or mode)``, of which the last two may be left out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, *more in members:
            info = tarfile.TarInfo(name)
            info.type = more[0] if more else tarfile.REGTYPE
            if more[1:]:
                setattr(info, "mode" if isinstance(more[1], int) else "linkname", more[1])
            tar.addfile(info)
    return buffer.getvalue()


def unpackable(data: bytes) -> list[tarfile.TarInfo]:
    """The members as Python's own reader has them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()
