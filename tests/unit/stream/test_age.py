"""Encryption: what it packs, age unpacks; what is cut, altered or not for this key, it refuses."""

import contextlib
import shutil
import subprocess
import threading

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.errors import BadBackupError, StoreError, UsageError
from postgres_backup.stream import codec
from tests.properties import examples
from tests.unit.memory import peak_of
from tests.unit.stream.packing import TEXT, pack, pieces, unpack


@pytest.fixture(scope="module")
def identity():
    return pyrage.x25519.Identity.generate()


@settings(deadline=None, max_examples=examples(30))
@given(
    length=st.integers(0, 400_000),
    inward=st.integers(1000, 200_000),
    outward=st.integers(1000, 200_000),
)
def test_what_is_encrypted_decrypts_however_it_is_cut(length, inward, outward):
    identity = pyrage.x25519.Identity.generate()
    data = (TEXT * (length // len(TEXT) + 1))[:length]
    packed = pack(data, "gzip", [str(identity.to_public())], inward)
    assert unpack(b"".join(codec.decrypt(pieces(packed, outward), [str(identity)]))) == data


@pytest.mark.skipif(not shutil.which("age"), reason="Debian's package age is not installed")
def test_stock_tools_read_it_and_it_reads_theirs(tmp_path, identity):
    (tmp_path / "key").write_text(f"{identity}\n")
    (tmp_path / "dump.sql.gz.age").write_bytes(pack(TEXT, "gzip", [str(identity.to_public())]))
    decrypted = subprocess.run(
        ["age", "-d", "-i", tmp_path / "key", tmp_path / "dump.sql.gz.age"],
        check=True,
        capture_output=True,
    ).stdout
    assert (
        subprocess.run(["gunzip"], input=decrypted, check=True, capture_output=True).stdout == TEXT
    )
    theirs = subprocess.run(
        ["age", "-r", str(identity.to_public())], input=TEXT, check=True, capture_output=True
    ).stdout
    assert b"".join(codec.decrypt(pieces(theirs, 5000), [str(identity)])) == TEXT


def test_any_of_several_recipients_reads_it(identity):
    other = pyrage.x25519.Identity.generate()
    packed = pack(TEXT, "none", [str(identity.to_public()), str(other.to_public())])
    for one in (identity, other):
        assert b"".join(codec.decrypt([packed], [str(one)])) == TEXT


def test_the_right_key_may_be_one_of_several(identity):
    packed = pack(TEXT, "none", [str(identity.to_public())])
    assert (
        b"".join(codec.decrypt([packed], [str(pyrage.x25519.Identity.generate()), f"{identity}\n"]))
        == TEXT
    )


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
def test_ssh_keys_serve_too(tmp_path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True
    )
    packed = pack(TEXT, "gzip", [(tmp_path / "key.pub").read_text().strip()])
    assert unpack(b"".join(codec.decrypt([packed], [(tmp_path / "key").read_text()]))) == TEXT


def test_the_wrong_key_is_not_a_bad_backup(identity):
    packed = pack(TEXT, "gzip", [str(identity.to_public())])
    other = str(pyrage.x25519.Identity.generate())
    with pytest.raises(UsageError, match="none of the private keys") as caught:
        list(codec.decrypt([packed], [other]))
    assert other not in str(caught.value)


def test_what_is_no_key_is_said_before_anything_begins():
    with pytest.raises(UsageError, match="age1nonsense"):
        codec.Chain("gzip", ["age1nonsense"])
    with pytest.raises(UsageError, match="ssh-ed25519 nonsense"):
        codec.Chain("gzip", ["ssh-ed25519 nonsense"])
    with pytest.raises(UsageError) as caught:
        codec.decrypt([], ["AGE-SECRET-KEY-1NONSENSE"])
    assert "NONSENSE" not in str(caught.value)


def damaged_ones(packed):
    yield "empty", b""
    yield "header cut", packed[:60]
    yield "cut inside a chunk", packed[:-1000]
    yield "cut between chunks", packed[: 65552 * 2 + (len(packed) - 65552 * 2) // 65552 * 65552]
    yield "something behind it", packed + b"x"
    yield "a flipped bit", packed[:100_000] + bytes([packed[100_000] ^ 1]) + packed[100_001:]
    yield "not encrypted", TEXT


def test_cut_damaged_or_foreign_ciphertext_is_noticed(identity):
    packed = pack(TEXT, "none", [str(identity.to_public())])
    for what, bad in damaged_ones(packed):
        with pytest.raises(BadBackupError) as caught:
            list(codec.decrypt(pieces(bad, 3000), [str(identity)]))
        assert caught.value.findings[0]["code"] == "ENCRYPTION_CORRUPT", what


def test_an_error_of_the_source_comes_through_as_it_is(identity):
    packed = pack(TEXT, "none", [str(identity.to_public())])

    def broken():
        yield packed[:1000]
        raise StoreError("Failed to download x: the link broke")

    with pytest.raises(StoreError, match="the link broke"):
        list(codec.decrypt(broken(), [str(identity)]))


def waiting_threads():
    return {thread for thread in threading.enumerate() if thread.name in ("encrypt", "decrypt")}


def test_no_thread_stays_behind(identity):
    packed = pack(TEXT * 20, "none", [str(identity.to_public())])
    for what in ("read on", "leave", "fail"):
        stream = codec.decrypt(pieces(packed, 10_000), [str(identity)])
        assert next(stream)
        if what == "leave":
            stream.close()
        else:
            with contextlib.suppress(BadBackupError):
                list(stream)
    chain = codec.Chain("none", [str(identity.to_public())])
    chain.write(TEXT)
    del chain  # dropped half-way, as after an error
    for thread in waiting_threads():
        thread.join(timeout=5)
    assert not waiting_threads()


def test_encryption_is_bounded_in_both_directions(identity):
    program = """
    import os, sys
    from postgres_backup.stream import codec
    chain = codec.Chain("none", [sys.argv[1]])
    block = os.urandom(1 << 20)

    def packed():
        for _ in range(150):
            yield chain.write(block)
        yield chain.finish()

    assert sum(len(piece) for piece in codec.decrypt(packed(), [sys.argv[2]])) == 150 << 20
    """
    assert peak_of(program, str(identity.to_public()), str(identity)) < 80
