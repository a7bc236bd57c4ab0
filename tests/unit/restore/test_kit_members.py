"""Which members of a kit may be put back, and which no kit of ours has."""

from __future__ import annotations

import io
import posixpath
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.catalog.kit_paths import Paths, leads_to, parts_of
from postgres_backup.restore import kit_members
from postgres_backup.restore.kit_members import Accepted, Judge, Refused, owner_findings
from postgres_backup.stream.archive import Archive, ArchiveError
from tests import hostile_kits
from tests.hostile_kits import DIR, HARD, LINK, kit_of
from tests.properties import examples


def paths(*named: str) -> Paths:
    return Paths([parts_of(path) or () for path in named])


def judged(data: bytes, *named: str) -> tuple[list[Accepted], Judge]:
    judge = Judge(paths(*named))
    return [judge.look(member) for member in Archive([data], 1 << 24)], judge


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("/srv/app/a",)], "leads out of the paths"),
        ([("srv/app/../../etc/passwd",)], "leads out of the paths"),
        ([("etc/passwd",)], "leads out of the paths"),
        ([("srv",)], "leads out of the paths"),
        ([("srv/application",)], "leads out of the paths"),
        ([("srv/app/" + "x" * 256,)], "leads out of the paths"),
        ([("srv/app/dev", tarfile.CHRTYPE)], "is a character device"),
        ([("srv/app/dev", tarfile.BLKTYPE)], "is a block device"),
        ([("srv/app/pipe", tarfile.FIFOTYPE)], "is a pipe"),
        ([("srv/app/odd", tarfile.CONTTYPE)], "member of type"),
        ([("srv/app/su", tarfile.REGTYPE, 0o4755)], "set-uid"),
        ([("srv/app/su", tarfile.REGTYPE, 0o2755)], "set-gid"),
        ([("srv/app/su", DIR, 0o4755)], "set-uid"),
        ([("srv/app/a",), ("srv/app/a",)], "twice"),
        ([("srv/app/a",), ("srv/app/./a",)], "twice"),
        ([("srv/app/d", DIR), ("srv/app/d", DIR)], "twice"),
        ([("srv/app/l", LINK, "a"), ("srv/app/l",)], "twice"),
        ([("srv/app/a",), ("srv/app/a", LINK, "b")], "twice"),
        ([("srv/app/l", LINK, "."), ("srv/app/l/a",)], "through a link"),
        ([("srv/app/l", LINK, "/etc"), ("srv/app/l/a",)], "through a link"),
        ([("srv/app/l/a",), ("srv/app/l", LINK, "/etc")], "twice"),
        ([("srv/app/a",), ("srv/app/a/b",)], "through a link or a file"),
        ([("srv/app/h", HARD, "etc/passwd")], "hard link that leads out"),
        ([("srv/app/a",), ("srv/app/h", HARD, "/srv/app/a")], "hard link that leads out"),
        ([("srv/app/h", HARD, "srv/app/a"), ("srv/app/a",)], "no file of the kit before it"),
        ([("srv/app/h", HARD, "srv/app/h")], "no file of the kit before it"),
        ([("srv/app/l", LINK, "a"), ("srv/app/h", HARD, "srv/app/l")], "no file of the kit"),
        ([("srv/app/a/",)], "only folders"),
    ],
)
def test_what_no_kit_of_ours_has_is_refused(members, said):
    data = kit_of(*members)
    if members == [("srv/app/a/",)]:  # tarfile itself drops the slash
        data = tarfile.TarInfo("srv/app/a/").tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    with pytest.raises(Refused, match=said):
        judged(data, "/srv/app")


def test_what_an_honest_kit_has_is_taken():
    found, judge = judged(
        kit_of(
            ("srv/app", DIR, 0o2775),
            ("srv/app/a",),
            ("srv/app/up", DIR, 0o1777),
            ("srv/app/up/hard", HARD, "srv/app/a"),
            ("srv/app/up/l", LINK, "../a"),
            ("srv/app/up/abs", LINK, "/srv/app/a"),
            ("srv/env",),
        ),
        "/srv/app",
        "/srv/env",
    )
    assert [one.parts[-1] for one in found] == ["app", "a", "up", "hard", "l", "abs", "env"]
    assert found[3].source == ("srv", "app", "a")
    assert [one.leads for one in found[4:6]] == [("srv", "app", "a")] * 2
    assert (judge.count, judge.findings()) == (7, [])


def test_links_that_lead_out_are_left_out_and_the_line_to_type_is_said():
    targets = ["/etc/passwd", "../../etc", "../../../..", "up/../../../etc", "/srv/ap", "..", ""]
    data = kit_of(*((f"srv/app/l{n}", LINK, target) for n, target in enumerate(targets)))
    found, judge = judged(data, "/srv/app")
    assert all(one.left_out for one in found)
    assert judge.findings() == [
        {
            "code": "KIT_LINK_LEFT_OUT",
            "message": "7 links lead out of the paths of the kit and are not made; where that is "
            "meant: ln -s /etc/passwd /srv/app/l0; ln -s ../../etc /srv/app/l1; "
            "ln -s ../../../.. /srv/app/l2; and 4 more",
        }
    ]


def test_a_path_that_is_a_link_may_lead_to_a_folder_that_another_path_is_in():
    data = kit_of(("srv/app/now", LINK, "/srv/releases/5"), ("srv/releases/5/files", DIR))
    found, _ = judged(data, "/srv/app", "/srv/app/now", "/srv/releases/5/files")
    assert found[0].leads == ("srv", "releases", "5")
    assert judged(data, "/srv/app", "/srv/releases/5/files")[0][0].left_out


def test_version_0_1_0_saved_what_was_named_twice_twice():
    twice = [("srv/app/up", DIR), ("srv/app/up/a",)]
    data = kit_of(*twice, *twice)
    assert len(judged(data, "/srv/app", "/srv/app/up")[0]) == 4
    with pytest.raises(Refused, match="twice"):
        judged(kit_of(*twice, *twice, *twice), "/srv/app", "/srv/app/up")


def test_the_number_of_members_and_of_owners_is_bounded(monkeypatch):
    monkeypatch.setattr(kit_members, "MOST_MEMBERS", 3)
    data = kit_of(*((f"srv/app/{number}",) for number in range(4)))
    with pytest.raises(Refused, match="more than 3 members"):
        judged(data, "/srv/app")
    monkeypatch.setattr(kit_members, "_MOST_OWNERS", 1)
    with pytest.raises(Refused, match="more owners"):
        judged(data, "/srv/app")


def test_owners_that_have_another_number_here_are_named(monkeypatch):
    here = {("user", "proxy"): 998, ("user", "root"): 0, ("group", "proxy"): 13}
    monkeypatch.setattr(kit_members, "number_here", lambda kind, name: here.get((kind, name)))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for user, uid, group, gid in (
            ("proxy", 13, "proxy", 13),
            ("root", 0, "crm", 1001),
            ("", 1234, "", 1234),
        ):
            info = tarfile.TarInfo(f"srv/app/{uid}")
            info.uname, info.uid, info.gname, info.gid = user, uid, group, gid
            tar.addfile(info)
    _, judge = judged(buffer.getvalue(), "/srv/app")
    assert judge.owners() == [
        {"kind": "group", "name": "crm", "was": 1001, "here": 1001, "known": False},
        {"kind": "user", "name": "proxy", "was": 13, "here": 998, "known": True},
    ]
    assert owner_findings(judge.owners()) == [
        {
            "code": "KIT_OWNER_DIFFERS",
            "message": "Owners whose numbers differ: group crm: 1001 in the kit, not known here: "
            "stays 1001; user proxy: 13 in the kit, 998 here",
        }
    ]
    assert owner_findings([]) == []


def inside(path: str, named: list[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in named)


def require_harmless(found: list[Accepted], named: list[str]) -> None:
    """The rules once more, told otherwise: by strings, and of all members at once."""
    kinds: dict[str, str] = {}
    for one in found:
        member = one.member
        path = posixpath.normpath("/" + member.name)
        assert not member.name.startswith("/")
        assert ".." not in member.name.split("/")
        assert inside(path, named)
        assert member.kind in ("file", "folder", "link", "hard link")
        assert not member.mode & 0o4000
        assert not member.mode & 0o2000 or member.kind == "folder"
        assert path == "/" + "/".join(one.parts)
        kind = "file" if member.kind == "hard link" else member.kind
        assert kinds.setdefault(path, kind) == kind
        if one.source is not None:
            assert kinds["/" + "/".join(one.source)] == "file"
        if member.kind == "link" and not one.left_out:
            end = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.target))
            end = "/" + end.lstrip("/")  # POSIX leaves two slashes at the front alone
            whole = posixpath.dirname(path) + "/" + member.target
            assert member.target.startswith("/") or whole.count("../") < whole.count("/")
            assert inside(end, named) or path in named
    for path in kinds:
        while (path := posixpath.dirname(path)) != "/":
            assert kinds.get(path, "folder") == "folder", path


#: archives of each example
BATCH = 25 if examples(1) == 1 else 250


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 2**62))
def test_whatever_is_taken_is_harmless_and_nothing_else_happens_than_a_refusal(seed):
    """100,000 archives by ``make fuzz``."""
    chance = random.Random(seed)
    for _ in range(BATCH):
        named = chance.choice(hostile_kits.PATHS)
        data = hostile_kits.pack(hostile_kits.members(chance, named), chance)
        try:
            found, _ = judged(data, *named)
        except (Refused, ArchiveError):
            continue
        require_harmless(found, named)
        theirs = hostile_kits.unpackable(data) if found else []
        assert [posixpath.normpath(one.name) for one in theirs] == [
            posixpath.normpath(one.member.name) for one in found
        ]
        assert [(one.size, one.linkname) for one in theirs] == [
            (one.member.size, one.member.target) for one in found
        ]


@pytest.mark.parametrize(
    ("link", "target", "end"),
    [
        ("/srv/app/l", "a", ("srv", "app", "a")),
        ("/srv/app/l", "./a//b/.", ("srv", "app", "a", "b")),
        ("/srv/app/l", "../../etc", ("etc",)),
        ("/srv/app/l", "../..", ()),
        ("/srv/app/l", "../../..", None),
        ("/srv/app/l", "a/../b", None),
        ("/srv/app/l", "/..", None),
        ("/srv/app/l", "", None),
        ("/srv/app/l", "a\0b", None),
    ],
)
def test_where_a_link_leads_by_its_letters(link, target, end):
    assert leads_to(parts_of(link), target) == end
