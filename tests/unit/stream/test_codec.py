"""The codec: what it packs, stock tools unpack; what is cut, damaged or goes on too long, it
refuses.
"""

import gzip
import random
import subprocess
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_backup.errors import BadBackupError
from postgres_backup.stream import codec
from tests.properties import examples
from tests.unit.memory import peak_of
from tests.unit.stream.packing import TEXT, pack, pieces, unpack

COMPRESSIONS = ("gzip", "zstd", "none")


def code_of(packed, compression, step=4096):
    with pytest.raises(BadBackupError) as caught:
        unpack(packed, compression, step)
    assert caught.value.exit_status == 4
    return caught.value.findings[0]["code"]


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
