"""A store that answers as no store should, or as a cheaper one does: a real S3 server, and between
it and whoever asks somebody who changes requests and answers.

Each way to answer has a name in :data:`ANSWERS`, and knows by itself which requests it can be made
to. :class:`HostileStore` signs what it changed anew with the server's own key, so that a header
that is taken away (``If-None-Match``, ``Content-MD5``, those of a lock) is not noticed: that is how
a store behaves which accepts such headers and ignores them.

One request a connection. Bodies are held whole: this is for small objects.
"""

from __future__ import annotations

import dataclasses
import gzip
import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO
from urllib.parse import parse_qs, quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from demo.s3_server import SeaweedFS
from tests.services.proxy import Chosen, Proxy

#: as many requests as there are
FOREVER = 1_000_000
_WEB_PAGE = b"<!DOCTYPE html><html><body><p>Sign in<br></body></html>"
_NOT_SIGNED = {"connection", "expect", "user-agent", "transfer-encoding", "x-amzn-trace-id"}


@dataclasses.dataclass
class Request:
    """A request as it came in: ``target`` is path and query, ``headers`` has small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    #: to be signed anew, because it was changed
    changed: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.target}"

    @property
    def query(self) -> dict[str, str]:
        """The last value of each word of the query."""
        asked = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in asked.items()}

    @property
    def key(self) -> str:
        """As it stands in the path, quoted; empty where a bucket is asked for."""
        return urlsplit(self.target).path.strip("/").partition("/")[2]

    def without(self, *beginnings: str) -> Request:
        """It without the headers that begin so."""
        kept = {n: v for n, v in self.headers.items() if not n.startswith(beginnings)}
        return dataclasses.replace(self, headers=kept, changed=True)


@dataclasses.dataclass
class Reply:
    """An answer. ``chunked``: its length is not told before; ``cut``: the connection breaks after
    so many bytes of the body.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunked: bool = False
    cut: int | None = None

    def changed(self, body: bytes | None = None, **headers: str | None) -> Reply:
        """It with another body, and with headers set or (None) taken away."""
        made = dict(self.headers)
        for name, value in headers.items():
            made.pop(name.replace("_", "-"), None)
            if value is not None:
                made[name.replace("_", "-")] = value
        return dataclasses.replace(self, headers=made, body=self.body if body is None else body)

    def without_elements(self, *names: str) -> Reply:
        """It without such elements of its XML."""
        body = self.body
        for name in names:
            body = re.sub(rf"<{name}>.*?</{name}>|<{name}/>".encode(), b"", body, flags=re.S)
        return self.changed(body)


PassOn = Callable[[Request], Reply]
#: makes the answer; None breaks the connection
Make = Callable[[Request, PassOn], "Reply | None"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """One way to answer.

    :param what: it in words.
    :param takes: the requests that it can be made to.
    """

    name: str
    what: str
    takes: Callable[[Request], bool]
    make: Make


#: every way, by its name
ANSWERS: dict[str, Answer] = {}


def answer(name: str, what: str, takes: Callable[[Request], bool]) -> Callable[[Make], Make]:
    """Register the function below as the one that makes it."""

    def register(make: Make) -> Make:
        ANSWERS[name] = Answer(name, what, takes, make)
        return make

    return register


@dataclasses.dataclass(kw_only=True)
class Play(Chosen):
    """One answer that is being given."""

    answer: Answer

    def takes(self, request: Request) -> bool:
        return self.answer.takes(request) and self.counts(request.method, request.target)


class HostileStore(Proxy):
    """In front of a server. Without :meth:`play` everything is as the server answers it.

    :ivar requests: every request so far, as ``PUT /bucket/key?partNumber=1``.
    """

    def __init__(self, server: SeaweedFS) -> None:
        super().__init__(server.endpoint_url)
        self.access_key, self.secret_key = server.access_key, server.secret_key
        self.ca_bundle = ""
        self.requests: list[str] = []
        self._plays: list[Play] = []
        self._lock = threading.Lock()

    def play(
        self,
        name: str | Answer,
        method: str = "",
        contains: str = "",
        times: int = FOREVER,
        skip: int = 0,
    ) -> Play:
        """Answer so from now on.

        :param name: of :data:`ANSWERS`, or an answer of one's own.
        :param method: only to such requests; empty: any.
        :param contains: only where path and query have that in them.
        :param times: to so many; the later ones are as the server answers them.
        :param skip: so many that match pass first.
        """
        known = name if isinstance(name, Answer) else ANSWERS[name]
        made = Play(answer=known, method=method, contains=contains, times=times, skip=skip)
        with self._lock:
            self._plays.append(made)
        return made

    def be_honest(self) -> None:
        """Everything is as the server answers it again, and no request was counted."""
        with self._lock:
            self._plays.clear()
            self.requests.clear()

    def handle(self, client: socket.socket) -> None:
        client.settimeout(30)
        with client.makefile("rb") as reader:
            request = _read_request(reader, client)
        if request is None:
            return
        with self._lock:
            self.requests.append(str(request))
            plays = [play for play in self._plays if play.takes(request)]
        reply = self._made(request, [play.answer.make for play in plays])
        if reply is not None:
            client.sendall(_written(reply, request.method))

    def _made(self, request: Request, makers: list[Make]) -> Reply | None:
        """Several answers at once: the first to be played stands outermost."""
        if not makers:
            return self._pass_on(request)

        class Broken(Exception):
            pass

        def pass_on(inner: Request) -> Reply:
            reply = self._made(inner, makers[1:])
            if reply is None:
                raise Broken
            return reply

        try:
            return makers[0](request, pass_on)
        except Broken:
            return None

    def _pass_on(self, request: Request) -> Reply:
        headers = dict(request.headers)
        if request.changed:
            headers = self._signed(request)
        headers["connection"] = "close"
        upstream = http.client.HTTPConnection(*self.upstream, timeout=60)
        try:
            upstream.putrequest(
                request.method, request.target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(request.body or None)
            got = upstream.getresponse()
            told = {name.lower(): value for name, value in got.getheaders()}
            return Reply(got.status, told, got.read())
        finally:
            upstream.close()

    def _signed(self, request: Request) -> dict[str, str]:
        """The headers, signed by the server's own key for the address that was asked."""
        old = request.headers
        kept = {
            name: value
            for name, value in old.items()
            if name not in {*_NOT_SIGNED, "authorization", "x-amz-date", "date", "content-length"}
        }
        url = f"{self.scheme}://{old['host']}{request.target}"
        again = AWSRequest(request.method, url, kept, request.body)
        credentials = Credentials(self.access_key, self.secret_key)
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(again)
        made = {name.lower(): value for name, value in again.headers.items()}
        return made | {"content-length": str(len(request.body))}


def _read_request(reader: BinaryIO, client: socket.socket) -> Request | None:
    first = reader.readline().decode("latin-1").split()
    if len(first) < 2:
        return None
    headers: dict[str, str] = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.pop("expect", ""):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = int(headers.get("content-length", "0"))
    body = reader.read(length)
    return Request(first[0], first[1], headers, body) if len(body) == length else None


def _written(reply: Reply, method: str) -> bytes:
    headers = {
        name: value
        for name, value in reply.headers.items()
        if name not in ("connection", "transfer-encoding", "content-length")
    }
    body = b"" if method == "HEAD" else reply.body
    told = reply.headers.get("content-length")
    if reply.chunked:
        headers["transfer-encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif method == "HEAD" and told is not None:
        headers["content-length"] = told
    elif method != "HEAD":
        headers["content-length"] = str(len(body))
    if reply.cut is not None:
        body = body[: reply.cut]
    lines = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Made')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode("latin-1") + body


# --- which request it is ---


def any_request(request: Request) -> bool:
    return True


def is_listing(request: Request) -> bool:
    return request.method == "GET" and "list-type" in request.query


def is_listing_of_uploads(request: Request) -> bool:
    return request.method == "GET" and "uploads" in request.query


def is_read(request: Request) -> bool:
    """Of an object's bytes."""
    return request.method == "GET" and bool(request.key)


def is_small_read(request: Request) -> bool:
    """Of what we wrote beside the dumps."""
    return is_read(request) and request.key.endswith((".json", ".sig"))


def is_manifest_read(request: Request) -> bool:
    return is_read(request) and "/manifests/" in request.key and request.key.endswith(".json")


def is_dump_read(request: Request) -> bool:
    return is_read(request) and not request.key.endswith((".json", ".sig"))


def is_look(request: Request) -> bool:
    """At an object, with its bytes or without."""
    return request.method in ("GET", "HEAD") and bool(request.key)


def is_head(request: Request) -> bool:
    return request.method == "HEAD" and bool(request.key)


def is_begin(request: Request) -> bool:
    return request.method == "POST" and "uploads" in request.query


def is_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber" in request.query


def is_complete(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


def is_write(request: Request) -> bool:
    """Of an object by one request."""
    settings = {"partNumber", "uploadId", "retention", "legal-hold", "acl", "tagging"}
    return request.method == "PUT" and bool(request.key) and not settings & set(request.query)


def is_small_write(request: Request) -> bool:
    return is_write(request) and request.key.endswith((".json", ".sig"))


def is_manifest_write(request: Request) -> bool:
    return is_write(request) and "/manifests/" in request.key and request.key.endswith(".json")


def is_any_write(request: Request) -> bool:
    return is_write(request) or is_part(request) or is_begin(request)


def is_delete(request: Request) -> bool:
    return request.method == "DELETE" and bool(request.key)


def is_delete_of_many(request: Request) -> bool:
    return request.method == "POST" and "delete" in request.query


def is_setting_of_bucket(*names: str) -> Callable[[Request], bool]:
    """A setting of the bucket is being made."""
    return lambda request: request.method == "PUT" and any(name in request.query for name in names)


def _error(status: int, code: str, said: str = "made by the test", **headers: str) -> Reply:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{said}</Message></Error>'
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"content-type": "application/xml"} | told, body.encode())


def _refusing(name: str, takes: Callable[[Request], bool], status: int, code: str, said: str = ""):
    @answer(name, f"{status} {code}", takes)
    def make(request: Request, pass_on: PassOn) -> Reply:
        return _error(status, code, said or "made by the test")


# --- something is missing ---


def _lacking(name: str, what: str, takes: Callable[[Request], bool], *headers: str) -> None:
    @answer(name, what, takes)
    def make(request: Request, pass_on: PassOn) -> Reply:
        reply = pass_on(request)
        return reply.changed(**{header.replace("-", "_"): None for header in headers})


def _lacking_element(name: str, takes: Callable[[Request], bool], *elements: str) -> None:
    @answer(name, f"an answer without <{'>, <'.join(elements)}>", takes)
    def make(request: Request, pass_on: PassOn) -> Reply:
        return pass_on(request).without_elements(*elements)


_lacking_element("no upload id", is_begin, "UploadId")
_lacking("no etag of a part", "a part is taken, without an ETag", is_part, "etag")
_lacking("no etag", "an object without an ETag", is_look, "etag")
_lacking("no etag written", "an object is taken, without an ETag", is_write, "etag")
_lacking("no length in HEAD", "an object without a Content-Length", is_head, "content-length")
_lacking("no last-modified", "an object without a Last-Modified", is_look, "last-modified")
_lacking("no date", "answers that do not tell the time", any_request, "date")
_lacking_element("no etag in a listing", is_listing, "ETag")
_lacking_element("no time in a listing", is_listing, "LastModified")
_lacking_element("no size in a listing", is_listing, "Size")
_lacking_element("no key in a listing", is_listing, "Key")
_lacking_element("no counts in a listing", is_listing, "KeyCount", "MaxKeys", "IsTruncated")
_lacking_element("no upload id in a listing", is_listing_of_uploads, "UploadId", "Initiated")


@answer("chunked", "an answer whose length is not told before", is_read)
def _chunked(request: Request, pass_on: PassOn) -> Reply:
    return dataclasses.replace(pass_on(request), chunked=True)


# --- it is something else ---


@answer("web page", "200 with a web page", any_request)
def _web_page(request: Request, pass_on: PassOn) -> Reply:
    return Reply(200, {"content-type": "text/html"}, _WEB_PAGE)


@answer("page not found", "404 with a web page", any_request)
def _page_not_found(request: Request, pass_on: PassOn) -> Reply:
    return Reply(404, {"content-type": "text/html"}, _WEB_PAGE)


@answer("nameless page", "200 with a web page that is not called one", any_request)
def _nameless_page(request: Request, pass_on: PassOn) -> Reply:
    return Reply(200, {}, _WEB_PAGE)


@answer("sent to a sign-in", "302 to where a network lets people in", any_request)
def _sent_to_a_sign_in(request: Request, pass_on: PassOn) -> Reply:
    where = {"content-type": "text/html", "location": "http://portal.invalid/login"}
    return Reply(302, where, _WEB_PAGE)


@answer("text", "200 with words", any_request)
def _text(request: Request, pass_on: PassOn) -> Reply:
    return Reply(200, {"content-type": "text/plain"}, b"Please sign in")


@answer("nothing", "200 with nothing in it", any_request)
def _nothing(request: Request, pass_on: PassOn) -> Reply:
    return Reply(200, {"content-type": "application/xml", "content-length": "0"})


@answer("garbage", "other bytes than lie there", is_look)
def _garbage(request: Request, pass_on: PassOn) -> Reply:
    made = b"\x00garbage\xff" * 7
    return pass_on(request).changed(made, content_length=str(len(made)), content_range=None)


@answer("error in 200", "200, and an error in its body", is_complete)
def _error_inside(request: Request, pass_on: PassOn) -> Reply:
    return dataclasses.replace(_error(503, "SlowDown"), status=200)


@answer("half an answer", "XML that ends in the middle", is_listing)
def _half(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return reply.changed(reply.body[: len(reply.body) // 2])


@answer("packed on the way", "Content-Encoding: gzip, which nobody asked for", any_request)
def _packed(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    if not reply.body:
        return reply
    return reply.changed(gzip.compress(reply.body, 1), content_encoding="gzip")


# --- it takes what it does not keep ---


@answer("swallowed", "200 to a write that is thrown away", is_write)
def _swallowed(request: Request, pass_on: PassOn) -> Reply:
    return Reply(200, {"etag": '"00000000000000000000000000000000"'})


@answer("manifest swallowed", "200 to a manifest that is thrown away", is_manifest_write)
def _manifest_swallowed(request: Request, pass_on: PassOn) -> Reply:
    return _swallowed(request, pass_on)


@answer("spoiled", "200 to a small object that is kept with a bit flipped", is_small_write)
def _spoiled(request: Request, pass_on: PassOn) -> Reply:
    spoiled = request.without("content-md5", "x-amz-checksum", "x-amz-sdk-checksum")
    return pass_on(dataclasses.replace(spoiled, body=_flipped(request.body)))


_DELETED = (
    '<?xml version="1.0"?><DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "{entries}</DeleteResult>"
)


def _told_of_each(request: Request, entry: str) -> Reply:
    """An answer to a deletion of many that says the same of each of them."""
    keys = re.findall(rb"<Key>(.*?)</Key>", request.body)
    entries = "".join(entry.format(key=key.decode()) for key in keys)
    told = {"content-type": "application/xml"}
    return Reply(200, told, _DELETED.format(entries=entries).encode())


@answer("many deletes ignored", "all of many said to be deleted, and they stay", is_delete_of_many)
def _many_deletes_ignored(request: Request, pass_on: PassOn) -> Reply:
    return _told_of_each(request, "<Deleted><Key>{key}</Key></Deleted>")


@answer(
    "many deletes failed", "200 to a deletion of many, and an error for each", is_delete_of_many
)
def _many_deletes_failed(request: Request, pass_on: PassOn) -> Reply:
    failed = "<Error><Key>{key}</Key><Code>InternalError</Code><Message>x</Message></Error>"
    return _told_of_each(request, failed)


@answer("many deletes unsaid", "200 to a deletion of many, and nothing said", is_delete_of_many)
def _many_deletes_unsaid(request: Request, pass_on: PassOn) -> Reply:
    return _told_of_each(request, "")


@answer("delete ignored", "204 to a deletion, and the object stays", is_delete)
def _delete_ignored(request: Request, pass_on: PassOn) -> Reply:
    return Reply(204, {})


# --- listings ---


def _entries(reply: Reply) -> list[bytes]:
    return re.findall(rb"<Contents>.*?</Contents>", reply.body, flags=re.S)


def _with_entries(reply: Reply, entries: Iterable[bytes]) -> Reply:
    head, _, rest = reply.body.partition(b"<Contents>")
    if not rest:
        return reply
    tail = rest[rest.rindex(b"</Contents>") + len(b"</Contents>") :]
    return reply.changed(head + b"".join(entries) + tail)


def _going_on(reply: Reply, token: str) -> Reply:
    """It, with the word that there is more."""
    made = reply.without_elements("IsTruncated", "NextContinuationToken")
    more = "<IsTruncated>true</IsTruncated>"
    more += f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return made.changed(
        made.body.replace(b"</ListBucketResult>", f"{more}</ListBucketResult>".encode())
    )


@answer("same token", "a listing that goes on at the same token for ever", is_listing)
def _same_token(request: Request, pass_on: PassOn) -> Reply:
    return _going_on(pass_on(_from_start(request)), "token")


@answer("same page", "a listing of which each page is the first, with a new token", is_listing)
def _same_page(request: Request, pass_on: PassOn) -> Reply:
    number = int(request.query.get("continuation-token", "0")) + 1
    return _going_on(pass_on(_from_start(request)), str(number))


@answer("empty pages", "a listing of empty pages that never ends", is_listing)
def _empty_pages(request: Request, pass_on: PassOn) -> Reply:
    number = int(request.query.get("continuation-token", "0")) + 1
    return _going_on(_with_entries(pass_on(_from_start(request)), ()), str(number))


@answer("more without a token", "a listing that has more, and does not say where", is_listing)
def _no_token(request: Request, pass_on: PassOn) -> Reply:
    return _going_on(pass_on(_from_start(request)), "")


@answer("token forgotten", "400 to the token that the page before gave", is_listing)
def _token_forgotten(request: Request, pass_on: PassOn) -> Reply:
    if "continuation-token" in request.query:
        return _error(400, "InvalidArgument", "The continuation token provided is incorrect")
    found = pass_on(request)
    entries = _entries(found)
    after = request.query.get("start-after", "")
    later = [e for e in entries if not after or _key_of(e) > after]
    if len(later) < 2:
        return _with_entries(found, later)
    return _going_on(_with_entries(found, later[: len(later) // 2]), "token")


def _key_of(entry: bytes) -> str:
    found = re.search(rb"<Key>(.*?)</Key>", entry)
    return found[1].decode() if found else ""


@answer("listed twice", "a listing that names each object twice", is_listing)
def _twice(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return _with_entries(reply, [*_entries(reply), *_entries(reply)])


@answer("unsorted", "a listing in no order", is_listing)
def _unsorted(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return _with_entries(reply, reversed(_entries(reply)))


@answer("listed of others", "a listing of another prefix too", is_listing)
def _of_others(request: Request, pass_on: PassOn) -> Reply:
    asked = request.query.get("prefix", "")
    wider = quote(asked.rstrip("/").rpartition("/")[0], safe="")
    target = re.sub(r"(?<=[?&])prefix=[^&]*", f"prefix={wider}", request.target)
    target = re.sub(r"&?delimiter=[^&]*", "", target)
    return pass_on(dataclasses.replace(request, target=target, changed=True))


def _from_start(request: Request) -> Request:
    target = re.sub(r"(?<=[?&])continuation-token=[^&]*&?", "", request.target).rstrip("&?")
    return dataclasses.replace(request, target=target, changed=target != request.target)


# --- it sends elsewhere ---


@answer("redirected in a circle", "307 to where one was", any_request)
def _circle(request: Request, pass_on: PassOn) -> Reply:
    where = f"http://{request.headers['host']}{request.target}"
    return _error(307, "TemporaryRedirect", location=where)


@answer("regions in a circle", "301, each time to another region", any_request)
def _region_circle(request: Request, pass_on: PassOn) -> Reply:
    asked = re.search(r"/(region-)?(\w+)-1/s3/", request.headers.get("authorization", ""))
    region = "region-b-1" if asked and asked[2] == "a" else "region-a-1"
    return _error(301, "PermanentRedirect", x_amz_bucket_region=region)


# --- bytes on their way ---


def _flipped(data: bytes, at: int | None = None) -> bytes:
    at = len(data) // 2 if at is None else at
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else data


@answer("range ignored", "200 with the whole object to whoever wants a part of it", is_read)
def _range_ignored(request: Request, pass_on: PassOn) -> Reply:
    return pass_on(request.without("range"))


@answer("broken", "the connection breaks in the middle of an object", is_read)
def _broken(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return dataclasses.replace(reply, cut=len(reply.body) // 2)


@answer("broken early", "the connection breaks at the beginning of an object", is_read)
def _broken_early(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return dataclasses.replace(reply, cut=len(reply.body) // 8)


@answer("damaged", "an object with a bit flipped on its way here", is_read)
def _damaged(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return reply.changed(_flipped(reply.body)) if reply.status < 300 else reply


@answer("another length", "an object that is told to be longer than it is", is_head)
def _another_length(request: Request, pass_on: PassOn) -> Reply:
    reply = pass_on(request)
    return reply.changed(content_length=str(int(reply.headers.get("content-length", "0")) + 1))


# --- it says no ---

_refusing("denied", is_look, 403, "AccessDenied", "Access Denied")
_refusing("manifest denied", is_manifest_read, 403, "AccessDenied", "Access Denied")
_refusing("manifest gone", is_manifest_read, 404, "NoSuchKey")
_refusing("many deletes refused", is_delete_of_many, 501, "NotImplemented")
_refusing("failing", any_request, 503, "ServiceUnavailable")
_refusing("full", is_any_write, 507, "InsufficientStorage")
_refusing("quota", is_any_write, 403, "QuotaExceeded", "The quota of the bucket is used up")
_refusing("token expired", any_request, 400, "ExpiredToken", "The provided token has expired.")
_refusing("in cold storage", is_dump_read, 403, "InvalidObjectState", "storage class GLACIER")
_refusing("manifest in cold storage", is_manifest_read, 403, "InvalidObjectState")


@answer("few parts", "no part above the second is taken", is_part)
def _few_parts(request: Request, pass_on: PassOn) -> Reply:
    if int(request.query["partNumber"]) <= 2:
        return pass_on(request)
    return _error(400, "InvalidArgument", "Part number must be an integer between 1 and 2")


# --- it accepts, and ignores: what a store that knows no such thing does ---


def _ignoring(name: str, what: str, takes: Callable[[Request], bool], *beginnings: str) -> None:
    @answer(name, f"{what} is accepted and ignored", takes)
    def make(request: Request, pass_on: PassOn) -> Reply:
        return pass_on(request.without(*beginnings))


def _ignoring_setting(name: str, what: str, *settings: str) -> None:
    @answer(name, f"{what} is accepted and ignored", is_setting_of_bucket(*settings))
    def make(request: Request, pass_on: PassOn) -> Reply:
        return Reply(200, {"content-length": "0"})


_ignoring("conditions ignored", "If-None-Match", is_any_write, "if-none-match", "if-match")
_ignoring("condition of completion ignored", "If-None-Match", is_complete, "if-none-match")
_ignoring("MD5 ignored", "Content-MD5", is_any_write, "content-md5")
_ignoring("checksums ignored", "a checksum", is_any_write, "x-amz-checksum", "x-amz-sdk-checksum")
_ignoring("lock ignored", "a lock", any_request, "x-amz-object-lock", "x-amz-bucket-object-lock")
_ignoring_setting("retention ignored", "retention of an object", "retention", "legal-hold")
_ignoring_setting("lock of the bucket ignored", "a lock of the bucket", "object-lock")
_ignoring_setting("versioning ignored", "versioning", "versioning")
_ignoring_setting("lifecycle ignored", "a lifecycle", "lifecycle")
_ignoring_setting("public access block ignored", "a block of public access", "publicAccessBlock")
