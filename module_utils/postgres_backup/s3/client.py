"""One connection to an S3-compatible store: its client, its patience, and its errors in words.

boto3 is loaded when the first client is made. It is told everything explicitly and hears nothing
from the environment or from ``~/.aws``: cron has none of it, and a laptop has a confusing one.
Proxies (``HTTPS_PROXY``, ``NO_PROXY``) are the one exception, as everywhere.

What is sent is what the widest range of stores takes: newer checksums only where S3 itself requires
one, and then Content-MD5 in their place; signature version 4; nothing optional.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import email.utils
import functools
import gc
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

import botocore
import botocore.config
import botocore.exceptions
import botocore.utils

from ..errors import UsageError
from ..findings import Finding, finding
from ..settings import Settings
from . import long_pages, somebody_else
from .calls import Call, Part
from .errors import (
    CONNECT_TIMEOUT,
    FAILURES,
    READ_TIMEOUT,
    NotAsS3,
    NotS3,
    Refused,
    Stopped,
    WentInACircle,
    is_transient,
)
from .explanations import explain

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectOutputTypeDef,
        HeadObjectOutputTypeDef,
        ObjectTypeDef,
    )

_Answer = TypeVar("_Answer")

#: seconds from the first failure of a call for which it is tried again
PATIENCE = 150.0
#: the same for a person who waits for an answer
QUICK = 3.0
#: and for what a backup does beside itself
_BESIDE = 30.0
#: how a store says no to one kind of request, while another may well be answered
NOT_THIS_WAY = (400, 403, 405, 501)
#: where Linux distributions keep the certificates they trust: Debian and its kin, Fedora, SUSE
_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
#: requests that one call may become where it is sent elsewhere: to the bucket's region, say
_MOST_REQUESTS = 10
#: a time as S3 writes it in listings
_LISTED_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", re.ASCII)
_MD5 = re.compile("[0-9a-f]{32}")
_environment_lock = threading.Lock()


def md5(data: bytes | bytearray | memoryview) -> bytes:
    """The MD5 of a body: against damage on the way, not against people."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def is_md5(etag: str) -> bool:
    """Whether an ETag can be an object's MD5; of one in parts, or at some stores, it is none."""
    return _MD5.fullmatch(etag) is not None


def content_md5(digest: bytes) -> str:
    """The value of a Content-MD5 header; with it a damaged body is refused by the store instead of
    kept.
    """
    return base64.b64encode(digest).decode("ascii")


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """An object as the store tells of it; ``modified`` is UTC, by the store's clock, None where it
    does not say; ``etag`` may be of any make.
    """

    key: str
    bytes: int
    modified: datetime | None
    etag: str = ""


def stored_object(
    key: str,
    size: int,
    told: HeadObjectOutputTypeDef | GetObjectOutputTypeDef | ObjectTypeDef,
) -> StoredObject:
    """An object as an answer of S3 tells of it."""
    modified = told.get("LastModified")
    in_utc = modified.astimezone(timezone.utc) if modified else None
    return StoredObject(key, size, in_utc, told.get("ETag", "").strip('"'))


class S3:
    """Calls to one bucket.

    :param settings: endpoint, region, bucket, key, addressing style and CA bundle are taken from
        it.
    :param patience: seconds for which a call that met a silent or failing store is repeated.
    :param timeout: seconds that the store may be silent.
    :ivar refused: what housekeeping the store has not done so far, see :func:`errors.may_fail`.
    :ivar ahead: seconds by which this machine's clock is ahead of the store's, as its answers so
        far tell it; None where none did.
    :raises UsageError: the CA bundle of the settings cannot be read.
    """

    def __init__(
        self, settings: Settings, patience: float = PATIENCE, timeout: float | None = None
    ) -> None:
        self.settings, self.patience = settings, patience
        self.timeout = READ_TIMEOUT if timeout is None else timeout
        self.bucket = settings.s3_bucket
        self.client = _client(settings, timeout=self.timeout)
        self.client.meta.events.register("after-call.s3", self._compare_clocks)
        self._sent = threading.local()
        self.client.meta.events.register("before-send.s3", self._count)
        self.refused: list[Finding] = []
        self.ahead: float | None = None
        self._no_head = False

    def _compare_clocks(self, parsed: Mapping[str, object] | None = None, **_: object) -> None:
        """Called by botocore after each answer. Those that were long on their way seem to tell of
        an earlier time, so the smallest difference is the true one.
        """
        told = date_of(parsed or {})
        if told is not None:
            ahead = time.time() - told - 0.5
            self.ahead = ahead if self.ahead is None else min(self.ahead, ahead, key=abs)

    def _count(self, **_: object) -> None:
        """Called by botocore before each request, also where an answer sends it elsewhere.

        :raises WentInACircle: it has been sent so far that it comes nowhere.
        """
        self._sent.requests = getattr(self._sent, "requests", 0) + 1
        if self._sent.requests > _MOST_REQUESTS:
            raise WentInACircle

    def call(
        self,
        call: Call,
        doing: str,
        request: Callable[[S3Client], _Answer],
        *,
        patience: float | None = None,
        stop: threading.Event | None = None,
        client: S3Client | None = None,
    ) -> _Answer:
        """One S3 operation, repeated while that may help.

        :param call: what it is, and so what its failure means.
        :param doing: for the error: ``Failed to <doing>: ...``.
        :param request: makes the call of the client, anew each time, and takes from the answer what
            is wanted of it.
        :param patience: other than that of the connection.
        :param stop: set by another thread to give up.
        :param client: another than that with our key.
        :raises Refused: the store said no.
        :raises CallFailed: it could not be reached, or did not answer as S3 does.
        """
        if patience is None:
            beside = call.part is Part.HOUSEKEEPING
            patience = min(self.patience, _BESIDE) if beside else self.patience
        give_up = None
        delay = 0.25
        while True:
            if stop is not None and stop.is_set():
                raise Stopped(call, f"Failed to {doing}: the upload was given up")
            self._sent.requests = 0
            try:
                return request(client or self.client)
            except FAILURES as error:
                if isinstance(error, botocore.exceptions.ParamValidationError):
                    raise  # a mistake of ours, not the store's
                now = time.monotonic()
                give_up = give_up or now + patience
                if not is_transient(error) or now + delay > give_up:
                    raise explain(error, call, doing, self.settings, self.timeout) from error
            if stop is None:
                time.sleep(delay)
            else:
                stop.wait(delay)
            delay = min(delay * 2, 15.0)

    def head(self, call: Call, key: str, patience: float | None = None) -> StoredObject | None:
        """What the store tells of one object; None when there is none.

        Some gateways refuse HEAD to whoever may GET: then that is asked, and its body left unread.
        """
        doing, refused = f"look at {key}", ""
        try:
            if not self._no_head:
                return self.call(
                    call,
                    doing,
                    lambda client: _told(key, client.head_object(Bucket=self.bucket, Key=key)),
                    patience=patience,
                )
        except NotS3:
            pass  # by what it calls an answer that has no body: what is read will tell
        except (Refused, NotAsS3) as error:
            if isinstance(error, Refused):
                if error.status == 404:
                    return None
                if error.status not in NOT_THIS_WAY:
                    raise
            refused = error.message
        try:
            found = self.call(
                call,
                doing,
                lambda client: _unread(key, client.get_object(Bucket=self.bucket, Key=key)),
                patience=patience,
            )
        except Refused as error:
            if error.status != 404:
                raise
            found = None
        if refused:
            self._no_head = True
            told = f"{refused}; it was read instead, which the store allows"
            self.refused.append(finding("HEAD_REFUSED", told))
        return found

    def delete(self, call: Call, key: str, doing: str, patience: float | None = None) -> None:
        """Delete one object."""
        self.call(
            call,
            doing,
            lambda client: client.delete_object(Bucket=self.bucket, Key=key),
            patience=patience,
        )


def date_of(answer: Mapping[str, object]) -> float | None:
    """When the store gave an answer, seconds since 1970 by its clock; None where it does not
    say.
    """
    metadata = answer.get("ResponseMetadata")
    headers = metadata.get("HTTPHeaders") if isinstance(metadata, dict) else None
    text = headers.get("date") if isinstance(headers, dict) else None
    try:
        return email.utils.parsedate_to_datetime(str(text)).timestamp() if text else None
    except (ValueError, TypeError, OverflowError):
        return None


def _unread(key: str, answer: GetObjectOutputTypeDef) -> StoredObject:
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    with contextlib.closing(answer["Body"]) as body:
        if somebody_else.called_page(headers):
            begins = body.read(somebody_else.BEGINS)
            somebody_else.require_no_page(key, headers, begins, passes=True)
    return _told(key, answer)


def _told(key: str, answer: HeadObjectOutputTypeDef | GetObjectOutputTypeDef) -> StoredObject:
    return stored_object(key, answer["ContentLength"], answer)


def anonymous(settings: Settings, timeout: float = READ_TIMEOUT) -> S3Client:
    """A client without a key: what it may do, everybody may."""
    return _client(settings, signed=False, timeout=timeout)


def fetch(settings: Settings, address: str, timeout: float = READ_TIMEOUT) -> tuple[int, bytes]:
    """What whoever opens an address of the store gets: the HTTP status, and the body.

    :raises OSError: nothing answers.
    """
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    session = URLLib3Session(
        verify=_certificates(settings),  # type: ignore[arg-type]  # a file too, as in boto3
        proxies=get_environ_proxies(address),
        timeout=int(timeout),
    )
    try:
        answer = session.send(AWSRequest(method="GET", url=address).prepare())
        return answer.status_code, answer.content
    except botocore.exceptions.BotoCoreError as error:
        raise OSError(str(error)) from error
    finally:
        session.close()


def _client(settings: Settings, signed: bool = True, timeout: float = READ_TIMEOUT) -> S3Client:
    config = botocore.config.Config(
        signature_version="s3v4" if signed else botocore.UNSIGNED,
        connect_timeout=min(CONNECT_TIMEOUT, timeout),
        read_timeout=timeout,
        # repeated by S3.call, which knows more damages and can be stopped
        retries={"mode": "standard", "total_max_attempts": 1},
        s3={"addressing_style": "virtual" if settings.s3_addressing_style == "virtual" else "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        tcp_keepalive=True,
    )
    with _deaf_to_environment(), _loading():
        client = _session().client(
            "s3",
            region_name=settings.s3_region,
            endpoint_url=settings.s3_endpoint_url,
            verify=_certificates(settings),
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=settings.s3_secret_key,
            config=config,
        )
    client.meta.events.register("before-call.s3", _content_md5_instead)
    # By a wildcard it comes before botocore's own, which calls what it cannot read a failing store.
    client.meta.events.register("before-parse.*", somebody_else.require_s3)
    client.meta.events.register("before-parse.s3.ListObjectsV2", long_pages.reader(_moment))
    # Stores and proxies that do not answer it make every part wait for a second.
    client.meta.events.register_last("before-call.s3", _expect_nothing)
    return client


@functools.cache
def _session() -> Session:
    """Shared: it keeps S3's description, which takes a tenth of a second to read."""
    import boto3
    import botocore.session

    session = botocore.session.get_session()
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_moment)
    return boto3.Session(botocore_session=session)


def _moment(text: str) -> datetime:
    """A time as an answer has it. botocore's own way is for times of any make, and takes half of
    what reading a long listing costs.
    """
    if match := _LISTED_TIME.fullmatch(text):
        with contextlib.suppress(ValueError):  # no such day: botocore says it in its words
            whole = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc)
            return whole.replace(microsecond=int(f"{match[2] or 0:0<6}"[:6]))
    return botocore.utils.parse_timestamp(text)


def _certificates(settings: Settings) -> str | bool:
    """The file of trusted CAs: the configured one, else the system's, else botocore's own."""
    if settings.s3_ca_bundle:
        if not os.access(settings.s3_ca_bundle, os.R_OK):
            raise UsageError(
                f"The CA bundle {settings.s3_ca_bundle} cannot be read",
                "Check backup_s3_ca_bundle (in the config: S3_CA_BUNDLE)",
            )
        return settings.s3_ca_bundle
    return next((path for path in _SYSTEM_CERTIFICATES if Path(path).is_file()), True)


@contextlib.contextmanager
def _deaf_to_environment() -> Iterator[None]:
    """While a client is made: no AWS_* or BOTO* variable and no ``~/.aws``.

    boto3 offers no switch for it, and each of its releases reads a few more of them. A client
    has read all of them once it is made.
    """
    with _environment_lock:
        kept = {
            name: os.environ.pop(name)
            for name in list(os.environ)
            if name.startswith(("AWS_", "BOTO"))
        }
        os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
        try:
            yield
        finally:
            del os.environ["AWS_CONFIG_FILE"], os.environ["AWS_SHARED_CREDENTIALS_FILE"]
            os.environ.update(kept)


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """While boto3 and S3's description are loaded: no search for garbage.

    All that is loaded stays, and is much: it would be searched a dozen times on the way, a seventh
    of what a short command costs.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


class _Context(TypedDict, total=False):
    checksum: dict[str, object]


class _Request(TypedDict):
    """What botocore's event ``before-call`` shows of a request (its Request Parameters)."""

    headers: dict[str, str]
    body: object
    context: _Context


def _expect_nothing(params: _Request, **_: object) -> None:
    params["headers"].pop("Expect", None)


def _content_md5_instead(params: _Request, **_: object) -> None:
    """Where S3 requires a checksum (a bucket's lifecycle, say): Content-MD5, which every store
    knows, not CRC32, which some refuse.
    """
    checksum = params["context"].get("checksum", {})
    body = params["body"]
    if checksum.pop("request_algorithm", None) and isinstance(body, (bytes, bytearray)):
        checksum.pop("request_algorithm_header", None)
        params["headers"]["Content-MD5"] = content_md5(md5(body))
