"""Something to pack, the ways in and out, and what that takes."""

from postgres_backup.stream import codec

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
