"""The public keys of all servers beside the inventory, and the lists that are made of them."""

import os
import stat
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.errors import UsageError
from postgres_backup.signing import keyring, signers
from postgres_backup.signing.keys import PublicKey
from postgres_backup.signing.signers import Signers
from tests.properties import examples

ROOT = Path(__file__).resolve().parents[3]
ODD = ["db1", "../../etc/passwd", ".hidden", "..", "*", "!db1", "a,b", "a b\n#", "100%", 'q"', "ü"]


def new_key() -> PublicKey:
    return PublicKey(Ed25519PrivateKey.generate().public_key().public_bytes_raw())


def keep(folder: Path, name: str, *keys: PublicKey, check: bool = False) -> keyring.Kept:
    return keyring.keep(str(folder), name, [key.line for key in keys], check)[0]


def believed(folder: Path, own: str, *trusted: str, check: bool = False) -> Signers:
    """Whom a server believes that has the list."""
    _, diff = keyring.keep(str(folder), own, [], check=True)
    made = keyring.believed(str(folder), own, trusted, diff["after"], check)
    return Signers(own, lines=signers.parse(made["trusted_signers"], "the list"))


def test_keys_come_before_those_that_are_there_once(tmp_path):
    folder, first, second = tmp_path / "keys", new_key(), new_key()
    assert keep(folder, "db1", first, check=True)["changed"]
    assert not keep(folder, "db1")["changed"]
    assert not folder.exists()
    kept = keep(folder, "db1", first, first)
    assert kept == {"changed": True, "file": f"{folder}/db1.pub", "added": [first.fingerprint]}
    file = folder / "db1.pub"
    assert file.read_text() == f"{first.line} postgres-backup db1\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert not keep(folder, "db1", first)["changed"]
    assert keep(folder, "db1", second, first)["added"] == [second.fingerprint]
    assert [line.split()[1] for line in file.read_text().splitlines()] == [
        key.line.split()[1] for key in (second, first)
    ]


def test_a_rebuilt_server_comes_before_its_predecessor_and_both_count(tmp_path):
    old, new, other = new_key(), new_key(), new_key()
    keep(tmp_path, "db1", old)
    keep(tmp_path, "db2", other)
    keep(tmp_path, "db1", new)  # it knows nothing of the old one
    trusts = believed(tmp_path, "db1").trusts
    assert trusts("db1", old)
    assert trusts("db1", new)
    assert trusts("db2", other)
    assert not trusts("db2", new)
    assert not trusts("db1", other)


def test_a_key_with_a_hash_sign_before_it_is_not_believed_and_does_not_come_back(tmp_path):
    stolen, new = new_key(), new_key()
    keep(tmp_path, "db1", stolen)
    file = tmp_path / "db1.pub"
    file.write_text(f"#{file.read_text()}")
    assert keep(tmp_path, "db1", new, stolen)["added"] == [new.fingerprint]
    assert file.read_text().count(stolen.line) == 1
    assert believed(tmp_path, "db2").trusts("db1", new)
    assert not believed(tmp_path, "db2").trusts("db1", stolen)


def test_whom_a_server_believes_is_chosen_by_name_and_itself_always(tmp_path):
    found = {name: new_key() for name in ("production", "staging", "test")}
    for name, key in found.items():
        keep(tmp_path, name, key)
    for own, trusted, expected in (
        ("staging", ["production"], {"staging", "production"}),
        ("production", ["production"], {"production"}),
        ("test", [], set(found)),
        ("new", ["new", "test"], {"test"}),  # it has no key yet
    ):
        trusts = believed(tmp_path, own, *trusted).trusts
        assert {name for name, key in found.items() if trusts(name, key)} == expected, own
    with pytest.raises(UsageError, match="no public key of prodcution in "):
        believed(tmp_path, "staging", "prodcution")
    assert not believed(tmp_path, "staging", "prodcution", check=True).trusts("test", found["test"])


@pytest.mark.parametrize("name", ODD)
def test_odd_names_stay_in_the_folder_and_are_that_server_alone(tmp_path, name):
    folder, key = tmp_path / "keys", new_key()
    file = Path(keep(folder, name, key)["file"])
    assert [path.name for path in folder.iterdir()] == [file.name]
    assert file.parent == folder
    trusts = believed(folder, "another").trusts
    assert trusts(name, key)
    assert not any(trusts(other, key) for other in [*ODD, "passwd", "db10"] if other != name)


@settings(max_examples=examples(100))
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=2))
def test_two_names_are_two_files_and_come_back(names):
    files = [keyring.file_of("/keys", name) for name in names]
    assert len(set(files)) == len(set(names))
    for name, file in zip(names, files, strict=True):
        assert urllib.parse.unquote(os.path.basename(file).removesuffix(".pub")) == name
        assert file.count("/") == 2
        assert not os.path.basename(file).startswith(".")
        assert file.endswith(".pub")


def test_what_is_no_key_is_an_error_that_names_its_line(tmp_path):
    key = new_key()
    for broken in ("ssh-rsa AAAAB3", f"{key.line}x", "ssh-ed25519", "ssh-ed25519 \udcff"):
        with pytest.raises(UsageError, match="is not a public key"):
            keyring.keep(str(tmp_path), "db1", [broken])
        assert list(tmp_path.iterdir()) == []
    two = f"{key.line}\nssh-ed25519 {new_key().line.split()[1]}"  # a server's word is not trusted
    keyring.keep(str(tmp_path), "db1", [two])
    assert (tmp_path / "db1.pub").read_text() == f"{key.line} postgres-backup db1\n"
    (tmp_path / "db2.pub").write_text(f"# ours\n\n{key.line}\nnonsense\n")
    with pytest.raises(UsageError, match=r"Line 4 of \S+/db2\.pub is not a public key"):
        believed(tmp_path, "db1")
    (tmp_path / "db2.pub").unlink()
    (tmp_path / "README").write_text("nonsense\n")
    (tmp_path / ".db3.pub").write_text("nonsense\n")
    assert believed(tmp_path, "db1").trusts("db1", key)


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(UsageError, match="Failed to read or write the public keys"):
        keep(tmp_path / "keys", "db1", new_key())


def test_two_servers_of_one_name_at_the_same_time_lose_no_key(tmp_path):
    found = [new_key() for _ in range(8)]
    threads = [threading.Thread(target=keep, args=(tmp_path, "db1", key)) for key in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = (tmp_path / "db1.pub").read_text()
    assert all(key.line in text for key in found)


def test_what_is_said_to_a_person(tmp_path):
    key = new_key()
    kept, diff = keyring.keep(str(tmp_path), "db1", [key.line])
    found = keyring.believed(str(tmp_path), "db1", [], diff["after"])
    first, last = keyring.lines(kept, found)
    assert first.startswith(f"{tmp_path}/db1.pub: got {key.fingerprint}. Commit it")
    assert last == "Believed: db1"
    assert keyring.lines(kept, found, check=True)[0].endswith(f"would get {key.fingerprint}")
    none = keyring.believed(str(tmp_path / "none"), "db1", [], "")
    assert keyring.lines({**kept, "changed": False}, none) == ["Believed: nobody but itself"]


def test_git_keeps_public_keys_and_no_private_one(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    paths = ["inventory/keys/db1.pub", "inventory/keys/signing.key"]
    done = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", *paths], stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.split() == paths[1:]
