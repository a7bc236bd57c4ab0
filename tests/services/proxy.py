"""In front of a real S3 server: a proxy that makes the faults no server makes on request, one that
adds TLS, and one with another clock.

Both listen on a free loopback port. The fault proxy speaks HTTP, one request a connection: slower
than a direct connection, which no test measures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import socketserver
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

BLOCK = 64 * 1024
KINDS = (
    "status", "html", "answer", "no_date", "cut_request", "cut_response", "flip", "lose_answer",
    "hang", "slow",
)  # fmt: skip


@dataclasses.dataclass(kw_only=True)
class Chosen:
    """Which requests something is done to, and to how many it was.

    :param method: such as ``PUT``; empty: any.
    :param contains: part of path and query, such as ``partNumber=2``; empty: any.
    :param times: for how many requests.
    :param skip: how many matching requests to let pass first.
    :ivar done: requests that it was done to.
    """

    method: str = ""
    contains: str = ""
    times: int = 1
    skip: int = 0
    done: int = 0

    def counts(self, method: str, target: str) -> bool:
        """Whether it is done to this request, which counts as one of them then."""
        if self.done >= self.times or self.method not in ("", method):
            return False
        if self.contains not in target:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.done += 1
        return True


@dataclasses.dataclass(kw_only=True)
class Fault(Chosen):
    """What to do to the next requests that match.

    :param kind: ``status``: answer with :attr:`status` without asking the server; ``html``: answer
        with a web page; ``answer``: answer 200 with :attr:`more` as its XML; ``no_date``: leave the
        time out of the answer; ``cut_request``: break the connection after :attr:`after` bytes of
        the request's body; ``cut_response``: likewise of the answer's; ``flip``: change one bit of
        the request's body at :attr:`after`; ``lose_answer``: let the server do it, and break the
        connection; ``hang``: take the request and say nothing for :attr:`seconds`; ``slow``: let
        the request's body take so long.
    """

    kind: str
    status: int = 503
    code: str = "ServiceUnavailable"
    #: further elements of the answer's XML
    more: str = ""
    after: int = 0
    seconds: float = 0.0


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64


class Proxy:
    """Listens on loopback and hands each connection to :meth:`handle`."""

    scheme = "http"

    def __init__(self, upstream_url: str) -> None:
        address = urlsplit(upstream_url)
        self.upstream = (address.hostname or "", address.port or 80)
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                # either side may go at any moment: that is what this is for
                with contextlib.suppress(OSError):
                    proxy.handle(self.request)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.endpoint_url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="proxy", daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, client: socket.socket) -> None:
        raise NotImplementedError


class TlsFront(Proxy):
    """TLS towards the client, none towards the server, for servers that cannot do it themselves.

    :param certificates: a directory as :func:`secure_s3.make_certificate` makes it.
    """

    scheme = "https"

    def __init__(self, upstream_url: str, certificates: Path) -> None:
        super().__init__(upstream_url)
        self.ca_bundle = str(certificates / "ca.pem")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")

    def handle(self, client: socket.socket) -> None:
        with (
            self._context.wrap_socket(client, server_side=True) as secure,
            socket.create_connection(self.upstream) as server,
        ):
            back = threading.Thread(target=_relay, args=(server, secure), daemon=True)
            back.start()
            _relay(secure, server)
            back.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(BLOCK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class FaultProxy(Proxy):
    """Passes requests on, unless a fault wants them.

    :ivar requests: every request so far, as ``PUT /bucket/key?partNumber=1``.
    """

    def __init__(self, upstream_url: str) -> None:
        super().__init__(upstream_url)
        self.requests: list[str] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        super().__exit__(*exc_info)

    def plan(self, kind: str, method: str = "", contains: str = "", **options) -> Fault:
        """Plan one fault; see :class:`Fault`. Its ``done`` tells how often it came about; what is
        changed in it counts from then on.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind} is no fault that this proxy can make: {', '.join(KINDS)}")
        fault = Fault(kind=kind, method=method, contains=contains, **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def handle(self, client: socket.socket) -> None:
        client.settimeout(30)
        reader = client.makefile("rb")
        with reader:
            head = _read_head(reader)
            if not head:
                return
            method, target, _ = head[0].split(" ", 2)
            with self._lock:
                self.requests.append(f"{method} {target}")
                fault = next(
                    (fault for fault in self._faults if fault.counts(method, target)),
                    Fault(kind=""),
                )
            length = int(_header(head, "content-length") or 0)
            if fault.kind == "hang":
                reader.read(length)
                self._closing.wait(fault.seconds)
                return
            if fault.kind in ("status", "html", "answer"):
                reader.read(length)
                client.sendall(_answer(fault, method))
                return
            with socket.create_connection(self.upstream, timeout=60) as server:
                # the server is to close after its answer: then the answer's end needs no parsing
                head = [line for line in head if not line.lower().startswith("connection:")] + [
                    "Connection: close"
                ]
                server.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
                if not _pass_body(reader, server, length, fault):
                    return
                _pass_answer(server, client, fault)


def _read_head(reader) -> list[str]:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.rstrip(b"\r\n").decode("latin-1"))
    return lines


def _header(head: list[str], name: str) -> str:
    return next(
        (
            line.partition(":")[2].strip()
            for line in head[1:]
            if line.lower().startswith(name + ":")
        ),
        "",
    )


def _answer(fault: Fault, method: str) -> bytes:
    if fault.kind == "html":
        status, body, kind = (
            200,
            b"<!DOCTYPE html><html><body><p>Sign in<br></body></html>",
            "text/html",
        )
    elif fault.kind == "answer":
        status, body, kind = 200, fault.more.encode(), "application/xml"
    else:
        status, kind = fault.status, "application/xml"
        body = (
            f'<?xml version="1.0"?><Error><Code>{fault.code}</Code>'
            f"<Message>made by the test</Message>{fault.more}</Error>"
        ).encode()
    head = f"HTTP/1.1 {status} Made\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else body)


def _pass_body(reader, server: socket.socket, length: int, fault: Fault) -> bool:
    """False where the connection is to break."""
    sent = 0
    while sent < length:
        data = bytearray(reader.read(min(BLOCK, length - sent)))
        if not data:
            return False
        if fault.kind == "cut_request" and sent + len(data) > fault.after:
            server.sendall(data[: fault.after - sent])
            return False
        if fault.kind == "flip" and sent <= fault.after < sent + len(data):
            data[fault.after - sent] ^= 1
        if fault.kind == "slow":
            time.sleep(fault.seconds * len(data) / length)
        server.sendall(data)
        sent += len(data)
    return True


def _pass_answer(server: socket.socket, client: socket.socket, fault: Fault) -> None:
    reader = server.makefile("rb")
    with reader:
        head = _read_head(reader)
        if fault.kind == "lose_answer":
            reader.read()
            return
        if fault.kind == "no_date":
            head = [line for line in head if not line.lower().startswith("date:")]
        client.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        sent = 0
        while data := reader.read1(BLOCK):
            if fault.kind == "cut_response" and sent + len(data) > fault.after:
                client.sendall(data[: fault.after - sent])
                return
            client.sendall(data)
            sent += len(data)


class ShiftedClock(Proxy):
    """Passes everything on, and lies about the time."""

    def __init__(self, upstream_url: str, seconds: float) -> None:
        super().__init__(upstream_url)
        self.shift = timedelta(seconds=seconds)

    def handle(self, client: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65536)
        head, _, body = request.partition(b"\r\n\r\n")
        length = int((re.search(rb"(?i)\r\ncontent-length: *(\d+)", head) or [0, 0])[1])
        while len(body) < length:
            body += client.recv(65536)
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head) + b"\r\nConnection: close"
        with socket.create_connection(self.upstream) as server:
            server.sendall(head + b"\r\n\r\n" + body)
            answer = b"".join(iter(lambda: server.recv(65536), b""))
        moment = datetime.now(timezone.utc) + self.shift
        client.sendall(
            re.sub(
                rb"\r\nDate: [^\r]*",
                f"\r\nDate: {moment:%a, %d %b %Y %H:%M:%S GMT}".encode(),
                answer,
                count=1,
            )
        )
