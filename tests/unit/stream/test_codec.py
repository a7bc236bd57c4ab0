"""The codec: what it packs, stock tools unpack; what is cut, damaged or goes on too long, it
refuses.
"""

import contextlib
import gzip
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import zlib

import pyrage
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.errors import BadBackupError, StoreError, UsageError
from postgres_backup.stream import codec
from tests.properties import examples

COMPRESSIONS = ("gzip", "zstd", "none")
TEXT = b"".join(
    b"%d\tnobody%d@example.com\t%d\n" % (i, i * 7919 % 10007, i * i) for i in range(20_000)
)


def pack(data, compression="gzip", recipients=(), step=10_000):
    chain = codec.Chain(compression, recipients)
    return (
        b"".join(chain.write(data[i : i + step]) for i in range(0, len(data), step))
        + chain.finish()
    )


def pieces(data, step):
    return [data[i : i + step] for i in range(0, len(data), step)]


def unpack(packed, compression="gzip", step=4096):
    return b"".join(codec.decompress(pieces(packed, step), compression))


def code_of(packed, compression, step=4096):
    with pytest.raises(BadBackupError) as caught:
        unpack(packed, compression, step)
    assert caught.value.exit_status == 4
    return caught.value.findings[0]["code"]


@pytest.fixture(scope="module")
def identity():
    return pyrage.x25519.Identity.generate()


# --- compression


@pytest.mark.parametrize("compression", COMPRESSIONS)
@settings(deadline=None, max_examples=examples(60))
@given(
    data=st.binary(max_size=5000),
    repeat=st.integers(1, 40),
    inward=st.integers(1, 4000),
    outward=st.integers(1, 4000),
)
def test_whatever_goes_in_comes_out_however_it_is_cut(compression, data, repeat, inward, outward):
    data *= repeat
    assert unpack(pack(data, compression, step=inward), compression, outward) == data


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_one_byte_at_a_time(compression):
    packed = pack(TEXT[:3000], compression)
    assert unpack(packed, compression, step=1) == TEXT[:3000]


def test_same_bytes_in_same_bytes_out():
    for compression in COMPRESSIONS:
        assert pack(TEXT, compression) == pack(TEXT, compression)
    assert pack(TEXT, "gzip")[4:8] == b"\0\0\0\0", "the time in the header of gzip"


def test_pieces_are_worth_handing_on():
    for compression in ("gzip", "zstd"):
        sizes = [
            len(piece)
            for piece in codec.decompress(pieces(pack(TEXT, compression), 100), compression)
        ]
        assert min(sizes[:-1]) >= codec.PIECE_BYTES


def test_memoryviews_are_welcome():
    chain = codec.Chain("none")
    assert chain.write(memoryview(b"abc")) + chain.finish() == b"abc"


def test_gunzip_reads_it(tmp_path):
    (tmp_path / "dump.sql.gz").write_bytes(pack(TEXT, "gzip"))
    done = subprocess.run(
        ["gunzip", "-c", tmp_path / "dump.sql.gz"], check=True, capture_output=True
    )
    assert done.stdout == TEXT
    assert done.stderr == b""


def test_gzip_of_the_old_scripts_is_read():
    done = subprocess.run(["gzip", "-c"], input=TEXT, check=True, capture_output=True)
    assert unpack(done.stdout) == TEXT
    assert unpack(gzip.compress(TEXT)) == TEXT


def test_any_zstd_reads_it():
    packed = pack(TEXT, "zstd")
    assert zstandard.ZstdDecompressor().decompress(packed, max_output_size=len(TEXT)) == TEXT
    assert zstandard.get_frame_parameters(packed).has_checksum


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_several_members_are_one_stream(compression, step):
    packed = (
        pack(TEXT[:500], compression) + pack(b"", compression) + pack(TEXT[500:900], compression)
    )
    assert unpack(packed, compression, step) == TEXT[:900]


def test_many_tiny_members_take_no_time():
    packed = pack(b"x", "gzip") * 30_000
    assert unpack(packed, "gzip", step=1 << 20) == b"x" * 30_000


def test_skippable_zstd_frames_are_passed_over():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert unpack(pack(b"data", "zstd") + skippable, "zstd") == b"data"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_every_truncation_is_noticed(compression):
    packed = pack(TEXT[:2000], compression)
    for length in range(len(packed)):
        found = code_of(packed[:length], compression)
        # fewer bytes than a magic number do not even look compressed
        assert found == "COMPRESSION_TRUNCATED" or (length < 4 and found == "COMPRESSION_CORRUPT")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_truncation_in_a_second_member_is_noticed(compression):
    packed = pack(TEXT[:2000], compression)
    assert code_of(packed + packed[:-3], compression) == "COMPRESSION_TRUNCATED"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_no_single_flipped_bit_gives_other_data(compression):
    packed = pack(TEXT[:5000], compression)
    generator = random.Random(5)
    refused = 0
    for _ in range(300):
        at = generator.randrange(len(packed))
        damaged = bytearray(packed)
        damaged[at] ^= 1 << generator.randrange(8)
        try:
            # some bits of a gzip header (time, operating system) mean nothing
            assert unpack(bytes(damaged), compression) == TEXT[:5000]
        except BadBackupError as error:
            assert error.findings[0]["code"].startswith("COMPRESSION_")  # noqa: PT017 - either is right
            refused += 1
    assert refused > 280


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("step", [1, 4096])
@pytest.mark.parametrize("tail", [b"x", b"garbage that follows", b"\0\0\0x", b"\x1f", b"\x28\xb5"])
def test_garbage_behind_the_end_is_noticed(compression, step, tail):
    assert code_of(pack(TEXT[:100], compression) + tail, compression, step) == "TRAILING_GARBAGE"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("count", [1, 3, 10_000])
def test_zeros_behind_the_end_are_padding(compression, count):
    assert unpack(pack(TEXT[:100], compression) + b"\0" * count, compression) == TEXT[:100]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_something_else_under_that_name_is_noticed(compression):
    assert code_of(b"", compression) == "COMPRESSION_TRUNCATED"
    assert code_of(TEXT, compression) == "COMPRESSION_CORRUPT"
    assert code_of(b"\0" * 1000, compression) == "COMPRESSION_CORRUPT"
    assert (
        code_of(pack(TEXT, "gzip" if compression == "zstd" else "zstd"), compression)
        == "COMPRESSION_CORRUPT"
    )


def test_a_raw_deflate_or_zlib_stream_is_not_gzip():
    assert code_of(zlib.compress(TEXT), "gzip") == "COMPRESSION_CORRUPT"


def test_unknown_compression():
    with pytest.raises(ValueError, match="lzma"):
        codec.Chain("lzma")
    with pytest.raises(ValueError, match="lzma"):
        codec.decompress([], "lzma")


def peak_of(program, *arguments):
    """MB of memory at most, of a Python process that runs ``program``; not ru_maxrss, which begins
    with the parent's.
    """
    tell = "\nprint(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    command = [sys.executable, "-c", textwrap.dedent(program) + tell, *arguments]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) // 1024


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_half_a_gigabyte_of_zeros_unpacks_in_little_memory(compression):
    program = """
    import sys
    from postgres_backup.stream import codec
    chain = codec.Chain(sys.argv[1])
    zeros = bytes(1 << 20)
    packed = b"".join(chain.write(zeros) for _ in range(512)) + chain.finish()
    total = sum(len(piece) for piece in codec.decompress([packed], sys.argv[1]))
    assert total == 1 << 29, total
    """
    assert peak_of(program, compression) < 200


# --- encryption


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
