"""One key for a server, whole or not at all, for its owner alone; the old ones stay known."""

import contextlib
import dataclasses
import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import postgres_backup
from postgres_backup.errors import UsageError
from postgres_backup.signing import keys, signers, sshsig
from tests.properties import examples
from tests.unit.signing import openssh


def names(server) -> list[str]:
    return sorted(os.listdir(Path(server.signing_key_file).parent))


def test_a_key_is_made_once_and_is_what_openssh_takes(server, tmp_path):
    key, made = keys.load_or_make(server)
    assert made
    again, made = keys.load_or_make(server)
    assert (again.public, made) == (key.public, False)
    assert keys.load(server).public == key.public
    assert names(server) == ["signing.key", "signing.key.pub"]
    path = Path(server.signing_key_file)
    beside = path.with_name("signing.key.pub")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(beside.stat().st_mode) == 0o644
    assert path.stat().st_uid == os.geteuid()
    assert beside.read_text() == f"{key.public.line} postgres-backup crm-1\n"
    derived = openssh.keygen("-y", "-f", path)
    assert derived.stdout.decode().split()[:2] == key.public.line.split()
    told = openssh.keygen("-l", "-f", path)
    assert told.stdout.decode() == f"256 {key.public.fingerprint} postgres-backup crm-1 (ED25519)\n"


def test_what_the_key_signs_is_the_servers_word_to_ssh_keygen_and_to_us(server, tmp_path):
    key, _ = keys.load_or_make(server)
    allowed = signers.line_of("crm-1", key.public)
    assert openssh.accepts(tmp_path, allowed, "crm-1", b"data", key.sign(b"data"))
    theirs = openssh.sign(Path(server.signing_key_file), b"data")
    assert theirs == key.sign(b"data")
    sshsig.parse(theirs).require(b"data")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_the_mode_is_right_whatever_the_umask(server, umask):
    before = os.umask(umask)
    try:
        keys.load_or_make(server)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(server.signing_key_file).st_mode) == 0o600


def make(server, start) -> tuple[str, bool]:
    start.wait(20)
    key, made = keys.load_or_make(server)
    return key.public.fingerprint, made


def test_of_many_who_make_it_at_once_one_does_and_all_have_the_same(server):
    count = 8
    start = threading.Barrier(count)
    found: list[tuple[str, bool]] = []
    threads = [
        threading.Thread(target=lambda: found.append(make(server, start))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({fingerprint for fingerprint, _ in found}) == 1
    assert sorted(made for _, made in found) == [False] * (count - 1) + [True]
    assert names(server) == ["signing.key", "signing.key.pub"]


MAKES = """
import sys
from postgres_backup.settings import Settings
from postgres_backup.signing import keys
made = Settings("crm-1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret",
    signing_key_file=sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
key, made = keys.load_or_make(made)
print(key.public.fingerprint, made)
"""
ENVIRONMENT = {"PYTHONPATH": str(Path(postgres_backup.__file__).parents[1])}


def test_of_two_processes_at_once_one_makes_it(server):
    command = [sys.executable, "-c", MAKES, server.signing_key_file]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=ENVIRONMENT,
                )
            )
            for _ in range(2)
        ]
        for process in both:
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.stdin.close()  # go
        told = [process.stdout.read().split() for process in both]
    assert {fingerprint for fingerprint, _ in told} == {keys.load(server).public.fingerprint}
    assert sorted(made for _, made in told) == ["False", "True"]
    assert names(server) == ["signing.key", "signing.key.pub"]


KILLED = """
import os, sys
from postgres_backup.settings import Settings
from postgres_backup.signing import keys
step, path = sys.argv[1:]
real = getattr(os, step)
def last(*arguments):
    if step != "unlink" or os.path.exists(path):
        os._exit(9)
    real(*arguments)
setattr(os, step, last)
made = Settings("crm-1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret",
    signing_key_file=path)
keys.load_or_make(made)
"""


@pytest.mark.parametrize(
    ("step", "whole"), [("fchmod", False), ("fsync", False), ("link", False), ("unlink", True)]
)
def test_who_is_killed_while_making_it_leaves_none_or_a_whole_one(server, step, whole):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, server.signing_key_file],
        env=ENVIRONMENT,
        check=False,
        timeout=30,
    )
    assert done.returncode == 9
    assert ("signing.key" in names(server)) == whole
    assert len(names(server)) == 1 + whole  # what it was about to link
    _, made = keys.load_or_make(server)
    assert made is not whole
    assert names(server) == ["signing.key", "signing.key.pub"]


def test_a_public_half_that_is_missing_is_laid_again(server):
    key, _ = keys.load_or_make(server)
    beside = Path(server.signing_key_file + ".pub")
    text = beside.read_text()
    beside.unlink()
    assert keys.load_or_make(server)[0].public == key.public
    assert beside.read_text() == text
    beside.write_text("garbage\n")
    assert keys.load_or_make(server)[1] is False
    assert beside.read_text() == text
    assert names(server) == ["signing.key", "signing.key.pub"]


def test_a_new_key_in_place_of_a_lost_one_keeps_the_lost_ones_word(server):
    lost, _ = keys.load_or_make(server)
    os.unlink(server.signing_key_file)
    key, made = keys.load_or_make(server)
    assert made
    assert keys.PublicKey.of_line(Path(server.signing_key_file + ".pub").read_text()) == key.public
    assert keys.old_public_keys(server) == [lost.public]


def test_a_rotation_keeps_the_old_public_half_and_nothing_private(server):
    first, _ = keys.load_or_make(server)
    private = Path(server.signing_key_file).read_bytes()
    second = keys.rotate(server)
    third = keys.rotate(server)
    assert len({key.public for key in (first, second, third)}) == 3
    assert keys.load(server).public == third.public
    assert keys.old_public_keys(server) == [first.public, second.public]
    assert names(server) == ["signing.key", "signing.key.old.pub", "signing.key.pub"]
    for name in names(server):
        data = (Path(server.signing_key_file).parent / name).read_bytes()
        assert private.split(b"\n")[4] not in data
    assert stat.S_IMODE(os.stat(server.signing_key_file).st_mode) == 0o600
    beside = Path(server.signing_key_file + ".pub").read_text()
    assert beside == f"{third.public.line} postgres-backup crm-1\n"
    old = Path(server.signing_key_file + ".old.pub").read_text().splitlines()
    assert old == [f"{key.public.line} postgres-backup crm-1" for key in (first, second)]
    assert keys.own_public_keys(server) == {key.public for key in (first, second, third)}


def test_what_a_person_wrote_beside_the_old_keys_stays(server):
    first, _ = keys.load_or_make(server)
    old = Path(server.signing_key_file + ".old.pub")
    old.write_text(f"# before the fire\n\n{keys.PublicKey(bytes(32)).line} a b c")
    keys.rotate(server)
    assert old.read_text().startswith("# before the fire\n\nssh-ed25519 ")
    assert keys.old_public_keys(server) == [keys.PublicKey(bytes(32)), first.public]


def test_rotations_at_once_lose_no_key(server):
    keys.load_or_make(server)
    found: list[keys.PublicKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(keys.rotate(server).public)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 6
    assert set(found) <= keys.own_public_keys(server)
    assert len(keys.own_public_keys(server)) == 7
    lies = Path(f"{server.signing_key_file}.pub").read_text()
    assert keys.load(server).public.line in lies


@pytest.mark.parametrize("call", ["first", "second", "third"])
def test_a_rotation_that_fails_half_way_leaves_every_key_known(server, call, monkeypatch):
    before, _ = keys.load_or_make(server)
    calls = iter(["first", "second", "third"])
    real = keys.replace_file

    def fail(*arguments, **named):
        if next(calls) == call:
            raise OSError(28, "No space left on device")
        real(*arguments, **named)

    monkeypatch.setattr(keys, "replace_file", fail)
    with pytest.raises(UsageError, match="No space left"):
        keys.rotate(server)
    monkeypatch.undo()
    assert before.public in keys.own_public_keys(server)
    assert keys.load(server).public in keys.own_public_keys(server)
    after = keys.rotate(server)
    assert {before.public, after.public} <= keys.own_public_keys(server)
    assert len(keys.old_public_keys(server)) == len(set(keys.old_public_keys(server)))


def test_the_key_of_another_user_is_not_replaced(server, monkeypatch):
    key, _ = keys.load_or_make(server)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(UsageError, match="belongs to user number"):
        keys.rotate(server)
    monkeypatch.undo()
    assert keys.load(server).public == key.public


def test_without_the_private_half_the_public_one_counts(server):
    key, _ = keys.load_or_make(server)
    os.unlink(server.signing_key_file)
    assert keys.own_public_keys(server) == {key.public}
    os.unlink(server.signing_key_file + ".pub")
    assert keys.own_public_keys(server) == frozenset()
    nowhere = dataclasses.replace(server, signing_key_file="")
    assert keys.own_public_keys(nowhere) == frozenset()


def spoil(path: Path, how: str) -> None:
    """Make an unusable key."""
    if how == "none":
        path.unlink(missing_ok=True)
    elif how == "passphrase":
        openssh.make_key(path, passphrase="correct horse")
    elif how == "other cipher":
        openssh.make_key(path, "-Z", "chacha20-poly1305@openssh.com", passphrase="correct horse")
    elif how == "ecdsa":
        openssh.make_key(path, kind=how)
    elif how == "pem":
        openssh.make_key(path, "-m", "PKCS8", kind="ecdsa")
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path, 0o600)
    else:
        openssh.make_key(path)
        if how == "cut":
            path.write_bytes(path.read_bytes()[:-60])
        elif how == "long":
            path.write_bytes(path.read_bytes() + b"\n" * 70_000)
        elif how == "empty":
            path.write_bytes(b"")
        else:
            path.chmod(int(how, 8))


@pytest.mark.parametrize(
    ("how", "says", "hint"),
    [
        ("none", "There is no signing key", "setup.yml"),
        ("0640", "may be read or written by others", "chmod 0600 "),
        ("0604", "may be read or written by others", "chmod 0600 "),
        ("0620", "may be read or written by others", "chmod 0600 "),
        ("passphrase", "has a passphrase", "ssh-keygen -p -f "),
        ("other cipher", "is broken, or not", "mv "),
        ("ecdsa", "is not an Ed25519 key", "mv "),
        ("pem", "is broken, or not an OpenSSH private key", "mv "),
        ("cut", "is broken", "mv "),
        ("empty", "is broken", "mv "),
        ("folder", "it is no file", "ls -l"),
        ("pipe", "it is no file", "ls -l"),
        ("long", "longer than 65536 bytes", "ls -l"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_with_what_to_type(server, how, says, hint):
    path = Path(server.signing_key_file)
    spoil(path, how)
    for call in (keys.load, signers.load):
        if how == "none" and call is signers.load:
            continue  # then there is nobody but the others
        with pytest.raises(UsageError, match=says) as caught:
            call(server)
        assert hint in caught.value.hint
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_who_may_only_read_it_signs_too(server, mode):
    keys.load_or_make(server)
    os.chmod(server.signing_key_file, mode)
    assert keys.load_or_make(server)[1] is False
    assert keys.load(server).sign(b"x")


def test_a_folder_that_is_missing_or_may_not_be_written_is_told(server, monkeypatch):
    elsewhere = dataclasses.replace(server, signing_key_file=server.signing_key_file + "/none/x")
    with pytest.raises(UsageError, match="There is no signing key") as caught:
        keys.load_or_make(elsewhere)
    assert "setup.yml" in caught.value.hint
    with pytest.raises(UsageError, match="No file for the signing key is named"):
        keys.load_or_make(dataclasses.replace(server, signing_key_file=""))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(keys, "create_file", refuse)
    with pytest.raises(UsageError, match="Permission denied"):
        keys.load_or_make(server)


def test_a_broken_line_among_the_old_keys_is_named(server):
    keys.load_or_make(server)
    Path(server.signing_key_file + ".old.pub").write_text("# old ones\n\nssh-rsa AAAA x\n")
    for call in (keys.old_public_keys, keys.own_public_keys, keys.rotate, signers.load):
        with pytest.raises(UsageError, match=r"Line 3 of .*signing\.key\.old\.pub"):
            call(server)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_old_keys_that_others_may_write_are_not_believed(server, mode):
    keys.load_or_make(server)
    keys.rotate(server)
    os.chmod(server.signing_key_file + ".old.pub", mode)
    with pytest.raises(UsageError, match="Others than its owner may write") as caught:
        signers.load(server)
    assert "chmod 0644 " in caught.value.hint


def test_who_cannot_lay_the_public_half_again_signs_all_the_same(server, monkeypatch):
    keys.load_or_make(server)
    os.unlink(server.signing_key_file + ".pub")

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(keys, "replace_file", refuse)
    assert keys.load_or_make(server)[0].sign(b"x")
    os.unlink(server.signing_key_file)
    with pytest.raises(UsageError, match="Read-only file system"):
        keys.load_or_make(server)


def test_the_private_half_is_in_nothing_that_is_shown(server):
    key, _ = keys.load_or_make(server)
    secrets = [line for line in Path(server.signing_key_file).read_text().split("\n")[1:-2] if line]
    raw = key._private.private_bytes_raw()
    secrets += [raw.hex(), repr(raw)[2:-1]]
    shown = [repr(key), str(key), f"{key}", repr([key]), repr(key.public), repr(key.sign)]
    broken = Path(server.signing_key_file)
    broken.write_text(broken.read_text().replace("AAAA", "AAAB", 1))
    with pytest.raises(UsageError) as caught:
        keys.load(server)
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert caught.value.__suppress_context__
    assert not [secret for secret in secrets if any(secret in text for text in shown)]
    assert repr(key) == f"SigningKey({key.public.fingerprint})"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.hypothesis
@settings(max_examples=examples(60))
@given(st.data())
def test_a_private_key_of_any_bytes_is_a_key_or_one_sentence(data):
    whole = SOME_KEY
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 12)))
    piece = data.draw(st.binary(max_size=12))
    with contextlib.suppress(UsageError):
        key = keys._private(whole[:start] + piece + whole[end:], "the key")
        sshsig.parse(key.sign(b"x")).require(b"x")


@pytest.mark.hypothesis
@settings(max_examples=examples(60))
@given(st.sampled_from(["ssh-ed25519 ", ""]), st.text(alphabet="AC3NzaC1lZDI5+/= \t\n\0ш\ud800"))
def test_a_line_of_any_letters_is_a_public_key_or_none(kind, rest):
    whole = keys.PublicKey(bytes(32)).line
    for line in (kind + rest, whole + rest, whole[:40] + rest + whole[40 + len(rest) :]):
        try:
            key = keys.PublicKey.of_line(line)
        except ValueError:
            continue
        assert key.line.split() == line.split()[:2]


SOME_KEY = keys._new()
