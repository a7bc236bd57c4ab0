"""The frame of a plain dump, a way to cut one, and one who takes what a guard hands on."""

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


class Taken:
    """What a guard handed on; statements end with a line here."""

    def __init__(self) -> None:
        self.text = b""
        self.statements: list[tuple[bytes, int]] = []
        self.transactions: list[bool] = []
        self.pieces: list[bytes] = []

    def statement(self, statement) -> None:
        self.statements.append(tuple(statement))
        self.text += statement.text + b"\n"

    def transaction(self, begins) -> None:
        self.transactions.append(begins)

    def copy(self, header, text, line) -> None:
        self.statements.append((text, line))
        self.text += text + b";\n"

    def rows(self, data) -> None:
        self.pieces.append(data)
        self.text += data

    def copy_end(self) -> None:
        self.text += b"\\.\n"
