"""Files and folders lie as they are wanted, what is right is left alone, and a check touches
nothing.
"""

import grp
import os
import pwd
import stat

import pytest

from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.machine.laid import Wanted, lay, lines, wanted

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def place(tmp_path):
    """Three that belong together: a folder in a folder that is missing, a file in it, a log."""
    folder = str(tmp_path / "opt/ours")
    return [
        Wanted(folder, 0o750, ME, MINE, folder=True),
        Wanted(f"{folder}/list", 0o644, ME, MINE, content="one\n"),
        Wanted(str(tmp_path / "log"), 0o640),
    ]


def mode(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_what_is_missing_is_made_and_a_second_time_nothing_is_done(place, tmp_path):
    done = lay(place)
    assert (done["changed"], done["files"]) == (True, [one.path for one in place])
    assert [mode(one.path) for one in place] == [0o750, 0o644, 0o640]
    # those above are like it, as Ansible's own module has it
    assert mode(tmp_path / "opt") == 0o750
    assert (tmp_path / "opt/ours/list").read_text() == "one\n"
    assert (tmp_path / "log").read_bytes() == b""
    (tmp_path / "log").write_text("a line\n")
    inode = os.stat(place[1].path).st_ino
    assert lay(place) == {"changed": False, "files": [], "diff": []}
    assert (tmp_path / "log").read_text() == "a line\n"
    assert os.stat(place[1].path).st_ino == inode


def test_a_check_says_the_same_and_touches_nothing(place, tmp_path):
    said = lay(place, check=True)
    assert os.listdir(tmp_path) == []
    assert said == lay(place)


def test_a_change_is_shown_and_made_and_nothing_lies_beside_it(place, tmp_path):
    lay(place)
    place[1] = Wanted(place[1].path, 0o600, content="two\n")
    for check in (True, False):
        done = lay(place, check)
        assert done["files"] == [place[1].path]
        [shown] = done["diff"]
        assert (shown["before"], shown["after"]) == ("one\n", "two\n")
        assert shown["before_header"] == shown["after_header"] == place[1].path
    assert (tmp_path / "opt/ours/list").read_text() == "two\n"
    assert mode(place[1].path) == 0o600
    assert os.listdir(tmp_path / "opt/ours") == ["list"]


def test_a_mode_that_somebody_changed_is_put_right(place):
    lay(place)
    for one in place:
        os.chmod(one.path, 0o777 if one.folder else 0o666)
    for check in (True, False):
        done = lay(place, check)
        assert done["files"] == [one.path for one in place]
        assert "mode: 0777" in done["diff"][0]["before"]
        assert "mode: 0750" in done["diff"][0]["after"]
    assert [mode(one.path) for one in place] == [0o750, 0o644, 0o640]


def test_a_half_that_a_killed_call_left_goes(place):
    lay(place)
    half = f"{place[1].path}.{2**22 + 1}"  # no process has this number
    with open(half, "w") as file:
        file.write("half")
    lay([Wanted(place[1].path, 0o644, content="two\n")])
    assert not os.path.exists(half)


def test_another_owner_is_named_in_a_check_although_there_is_no_such_user_yet(place):
    lay(place)
    changed = [Wanted(one.path, one.mode, "nobody-of-ours", folder=one.folder) for one in place]
    said = lay(changed, check=True)
    assert said["files"] == [one.path for one in place]
    assert said["diff"][0]["after"].startswith("owner: nobody-of-ours\n")
    with pytest.raises(UsageError, match="no such user"):
        lay(changed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_given(place):
    given = [Wanted(one.path, one.mode, "nobody", "root", one.content, one.folder) for one in place]
    for start in ([], place):
        lay(start)
        lay(given)
        nobody = pwd.getpwnam("nobody").pw_uid
        for one in given:
            found = os.stat(one.path)
            assert (found.st_uid, found.st_gid) == (nobody, 0)
    assert not lay(given)["changed"]


@pytest.mark.parametrize("folder", [True, False])
def test_something_else_of_that_name_is_left_alone(tmp_path, folder):
    path = tmp_path / "name"
    if folder:
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(UsageError, match="has its name"):
        lay([Wanted(str(path), 0o644, content=None if folder else "", folder=folder)])
    assert path.exists()


def test_a_link_of_another_user_leads_nobody_away(tmp_path, monkeypatch):
    """Root would give away whatever it leads to."""
    (tmp_path / "etc").mkdir()
    before = mode(tmp_path / "etc")
    link = tmp_path / "state"
    link.symlink_to("etc")
    of_ours = [
        Wanted(str(link / "tmp"), 0o700, folder=True),
        Wanted(str(link / "file"), 0o644, content="x"),
        Wanted(str(link), 0o700, folder=True),
    ]
    lay(of_ours[:1])  # our own link may be followed
    os.rmdir(link / "tmp")
    if os.geteuid() == 0:
        os.lchown(link, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for one in of_ours:
        with pytest.raises(UsageError, match="a link of another user's"):
            lay([one])
    assert os.listdir(tmp_path / "etc") == []
    assert mode(tmp_path / "etc") == before


def test_what_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(PostgresBackupError, match=r"^Failed to write .*/none/file: No such file"):
        lay([Wanted(str(tmp_path / "none/file"), 0o644, content="x")])


@pytest.mark.parametrize("bad", [{"path": "etc/x"}, {"mode": "420"}, {"mode": "0999"}])
def test_what_is_asked_for_in_the_wrong_words_is_refused(bad):
    with pytest.raises(UsageError, match="Failed to lay"):
        wanted({"path": "/etc/x", "mode": "0644"} | bad)


def test_a_person_reads_what_was_done():
    laid = {"changed": True, "files": ["/etc/x"], "diff": []}
    assert lines(laid, False) == ["Wrote /etc/x"]
    assert lines(laid, True) == ["Would write /etc/x"]
    assert lines({"changed": False, "files": [], "diff": []}, False) == [
        "Every file is as it should be."
    ]


def test_folders_above_a_file_are_made_where_that_is_asked_and_left_as_they_are(tmp_path):
    one = Wanted(f"{tmp_path}/share/man/man1/ours.1", 0o640, content="one\n", parents=True)
    (tmp_path / "share").mkdir(mode=0o700)
    assert lay([one], check=True)["files"] == [one.path]
    assert os.listdir(tmp_path / "share") == []
    assert lay([one])["files"] == [one.path]
    modes = [mode(tmp_path / name) for name in ("share", "share/man", "share/man/man1")]
    assert modes == [0o700, 0o755, 0o755]
    assert lay([one])["changed"] is False
    with pytest.raises(PostgresBackupError, match="No such file or directory"):
        lay([Wanted(f"{tmp_path}/nowhere/ours.1", 0o640, content="one\n")])


def test_a_folder_of_somebody_elses_keeps_its_owner_and_one_that_is_made_gets_ours(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir(0o700)
    like = Wanted(str(theirs), 0o755, "daemon", "daemon", folder=True, keeps=True)
    assert (
        like.keeps
        is wanted({"path": like.path, "mode": "0755", "folder": True, "keeps": True}).keeps
    )
    lay([like])
    assert (mode(theirs), os.stat(theirs).st_uid) == (0o755, os.geteuid())
    assert not lay([like])["changed"]
    if os.geteuid() == 0:
        made = Wanted(str(tmp_path / "made"), 0o755, "daemon", "daemon", folder=True, keeps=True)
        lay([made])
        assert pwd.getpwuid(os.stat(made.path).st_uid).pw_name == "daemon"


def test_what_is_secret_is_laid_and_not_shown(tmp_path):
    said = {"path": str(tmp_path / "config"), "mode": "0600"}
    for secret in ("first", "second"):
        [shown] = lay([wanted(said, {said["path"]: secret})])["diff"]
        assert (tmp_path / "config").read_text() == secret
        assert shown["before"] != shown["after"]
        assert secret not in shown["before"] + shown["after"]
        assert "first" not in shown["before"]
