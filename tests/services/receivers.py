"""Who is told: a web server and a mail server that keep what they receive, and the ways in which
such a server can be a bad one.
"""

from __future__ import annotations

import dataclasses
import email.message
import email.policy
import http.server
import json
import threading

from aiosmtpd.controller import Controller

from tests.services.awkward import free_port


@dataclasses.dataclass
class Received:
    """One request: ``path`` with its query, and the body."""

    path: str
    body: str

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class HttpReceiver:
    """A web server on a free port.

    :param host: the address that it listens at.
    :ivar requests: every request so far.
    :ivar status: what it answers.
    :ivar silence: seconds for which it takes a request and says nothing; it ends with the server.
    :ivar drip: it answers, and the body of the answer comes drop by drop.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.requests: list[Received] = []
        self.status, self.silence, self.drip = 200, 0.0, False
        self._closing = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                receiver.requests.append(Received(self.path, body))
                receiver._closing.wait(receiver.silence)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "1000" if receiver.drip else "0")
                self.end_headers()
                while receiver.drip and not receiver._closing.wait(0.2):
                    try:
                        self.wfile.write(b".")
                    except OSError:  # the other side has heard enough
                        return

            do_GET = do_POST

            def log_message(self, *_) -> None:
                """Nothing: the requests are kept."""

        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> HttpReceiver:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


class MailReceiver:
    """A mail server on a free loopback port; ``mails`` are those it has taken."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server, session, envelope) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"

    def __enter__(self) -> MailReceiver:
        self._controller.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._controller.stop()

    @property
    def url(self) -> str:
        """As Apprise writes it."""
        return f"mailto://127.0.0.1:{self._controller.port}?mode=insecure&from=backup@school.example&to=admin@school.example"
