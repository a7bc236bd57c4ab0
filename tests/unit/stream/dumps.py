"""The frame of a plain dump, and a way to cut one."""

HEADER = b"--\n-- PostgreSQL database dump\n--\n\n"
TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n"


def in_pieces(data, cuts):
    at = 0
    for width in cuts:
        if at >= len(data):
            return
        yield data[at : at + width]
        at += width
    yield data[at:]
