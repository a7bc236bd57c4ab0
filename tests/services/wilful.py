"""In front of a real S3 server: a store with a will of its own.

Its rules change requests before the server sees them, answer in its place, or change its answers;
what was changed is signed anew, so that the server's own check of signatures stays what it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import re
import socket
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from tests.services.proxy import Proxy, _header, _read_head


@dataclasses.dataclass
class Request:
    """One request; names of headers are in small letters. What a rule changes is sent on."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def of_object(self) -> bool:
        return self.path.strip("/").count("/") > 0


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""

    def sent(self, method: str) -> bytes:
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "transfer-encoding")
        }
        if method != "HEAD":
            kept = {name: v for name, v in kept.items() if name.lower() != "content-length"}
            kept["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} Wilful", *(f"{n}: {v}" for n, v in kept.items())]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        return head + (b"" if method == "HEAD" else self.body)


def refusal(status: int, code: str, said: str = "made by the test") -> Answer:
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{escape(said)}</Message></Error>"
    )
    return Answer(status, {"Content-Type": "application/xml"}, body.encode())


#: answers itself, or changes the request and gives None
Rule = Callable[[Request], Answer | None]
#: changes an answer of the server
After = Callable[[Request, Answer], None]


class Wilful(Proxy):
    """Passes on what no rule wants otherwise.

    :ivar rules: asked in turn before the server is; the first answer counts.
    :ivar afterwards: what becomes of the server's answers.
    :ivar requests: every request so far, as ``PUT /bucket/key``.
    """

    def __init__(self, upstream_url: str, access_key: str, secret_key: str) -> None:
        super().__init__(upstream_url)
        self._credentials = botocore.credentials.Credentials(access_key, secret_key)
        self.rules: list[Rule] = []
        self.afterwards: list[After] = []
        self.requests: list[str] = []
        self._lock = threading.Lock()

    def handle(self, client: socket.socket) -> None:
        client.settimeout(30)
        reader = client.makefile("rb")
        with reader:
            head = _read_head(reader)
            if not head:
                return
            method, target, _ = head[0].split(" ", 2)
            body = reader.read(int(_header(head, "content-length") or 0))
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:])
            }
            request = Request(method, target, headers, body)
            with self._lock:
                self.requests.append(f"{method} {target}")
                answer = self._answered(request)
            with contextlib.suppress(OSError):
                client.sendall(answer.sent(request.method))

    def _answered(self, request: Request) -> Answer:
        before = dataclasses.replace(request, headers=dict(request.headers))
        for rule in self.rules:
            if (answer := rule(request)) is not None:
                return answer
        if request != before and "authorization" in request.headers:
            self._sign(request)
        server = http.client.HTTPConnection(*self.upstream, timeout=60)
        with contextlib.closing(server):
            kept = {n: v for n, v in request.headers.items() if n != "connection"}
            server.putrequest(
                request.method, request.target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in kept.items():
                server.putheader(name, value)
            server.endheaders(request.body)
            got = server.getresponse()
            answer = Answer(got.status, dict(got.getheaders()), got.read())
        for after in self.afterwards:
            after(request, answer)
        return answer

    def _sign(self, request: Request) -> None:
        """As the client would have signed it."""
        signed = re.search(r"SignedHeaders=([^,]+)", request.headers["authorization"])
        names = set(signed[1].split(";")) if signed else set()
        region = request.headers["authorization"].split("/")[2]
        kept = {
            name: value
            for name, value in request.headers.items()
            if name in names and name not in ("x-amz-date", "x-amz-content-sha256", "host")
        }
        url = f"http://{request.headers['host']}{request.target}"
        made = botocore.awsrequest.AWSRequest(
            method=request.method, url=url, data=request.body, headers=kept
        )
        made.context["payload_signing_enabled"] = True
        botocore.auth.S3SigV4Auth(self._credentials, "s3", region).add_auth(made)
        for name in ("authorization", "x-amz-date", "x-amz-content-sha256"):
            request.headers.pop(name, None)
        request.headers |= {name.lower(): value for name, value in made.headers.items()}
        request.headers["content-length"] = str(len(request.body))


def without(*names: str, when: Callable[[Request], bool] = lambda request: True) -> Rule:
    """Accepts these headers, and does not heed them."""

    def rule(request: Request) -> Answer | None:
        if when(request):
            for name in [one for one in request.headers if one.startswith(names)]:
                del request.headers[name]
        return None

    return rule


class BlockOfCeph:
    """The public access block as Ceph RGW 16 has it: with ``BlockPublicAcls`` nobody may write.

    :param refuses_with: the blocks of which each makes every PutObject 403.
    :ivar block: what is set, as its XML; empty: nothing.
    :ivar removable: whether the key may take it away.
    """

    def __init__(self, *refuses_with: str) -> None:
        self.refuses_with = refuses_with or ("BlockPublicAcls",)
        self.block = b""
        self.removable = True

    def __call__(self, request: Request) -> Answer | None:
        if "publicAccessBlock" in request.query:
            return self._setting(request)
        sets = [re.search(rf"<{name}>true<".encode(), self.block) for name in self.refuses_with]
        if any(sets) and request.method == "PUT" and request.of_object:
            return refusal(403, "AccessDenied")
        return None

    def _setting(self, request: Request) -> Answer:
        if request.method == "GET":
            if not self.block:
                return refusal(404, "NoSuchPublicAccessBlockConfiguration")
            return Answer(200, {"Content-Type": "application/xml"}, self.block)
        if self.block and not self.removable:
            return refusal(409, "Conflict")
        self.block = request.body if request.method == "PUT" else b""
        return Answer(200 if request.method == "PUT" else 204)
