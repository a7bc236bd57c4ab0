"""What the errors of a store mean: one sentence for a person, and what to check."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import botocore.exceptions

from ..findings import finding
from ..settings import Settings
from ..text import printable
from .calls import Call
from .errors import (
    CLOCK_CODES,
    CONNECT_TIMEOUT,
    NOT_AS_S3,
    READ_TIMEOUT,
    CallFailed,
    NotAsS3,
    NotS3,
    OddAnswer,
    Refused,
    SentElsewhere,
    SomebodyElse,
    WentInACircle,
    code_of,
    is_full,
    is_transient,
    may_pass,
    status_of,
)

#: the cause of a failure, and what to check or to type
Why = tuple[str, str]

#: letters of an address that an error hands on
_ADDRESS = 120
_CHECK = "Check backup_s3_endpoint_url, and that this machine may reach it"
#: calls and answers that show that the store took the bucket's name for that of an object
_AS_OBJECT = {("ListObjectsV2", "NoSuchKey"), ("CreateBucket", "NoSuchBucket")}
#: a key that was good until some time; only with 400 or 403
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
#: how stores say that the bucket lies in another region
_OTHER_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "InvalidRegion",
}


def explain(
    error: Exception, call: Call, doing: str, settings: Settings, silence: float = READ_TIMEOUT
) -> CallFailed:
    """A failure of botocore as one sentence for a person, and what to check.

    :param silence: seconds that the store might be silent.
    """
    if isinstance(error, botocore.exceptions.ClientError):
        cause, hint = _refusal(_Answer.of(error), settings)
        refused = Refused(
            call,
            f"Failed to {doing}: {cause}",
            settings.named(hint),
            code_of(error),
            status_of(error),
            _headers(error),
            may_pass(error),
        )
        if code_of(error) in CLOCK_CODES:
            refused.findings.append(finding("CLOCK_DIFFERS", cause))
        return refused
    cause, hint = _unreachable(error, settings, silence)
    kind = CallFailed
    if isinstance(error, (OddAnswer, *NOT_AS_S3)):
        kind = NotS3 if isinstance(error, (SomebodyElse, SentElsewhere)) else NotAsS3
    return kind(call, f"Failed to {doing}: {cause}", settings.named(hint), may_pass(error))


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What a store has answered to a call that it did not do.

    :ivar said: its message, in one line.
    :ivar region: where the bucket lies; empty where the answer does not say it.
    """

    operation: str
    code: str
    status: int
    headers: Mapping[str, str]
    said: str
    region: str
    full: bool
    transient: bool

    @classmethod
    def of(cls, error: botocore.exceptions.ClientError) -> _Answer:
        told, headers = error.response.get("Error", {}), _headers(error)
        return cls(
            error.operation_name,
            code_of(error),
            status_of(error),
            headers,
            " ".join(str(told.get("Message") or "").split())[:200],
            str(told.get("Region") or headers.get("x-amz-bucket-region") or ""),
            is_full(error),
            is_transient(error),
        )

    @property
    def unsaid(self) -> bool:
        """It has none of S3's words, though one was to be expected."""
        wordless = not self.code or self.code.isdigit()
        return wordless and not self.operation.startswith("Head")


def _refusal(answer: _Answer, settings: Settings) -> Why:
    """Why a store that has answered did not do it: by its word first, then by its status."""
    for known in (_wrong_place, _wrong_key, _no_room, _wrong_time, _elsewhere, _no_store):
        if why := known(answer, settings):
            return why
    return _any_other(answer, settings)


def _wrong_place(answer: _Answer, settings: Settings) -> Why | None:
    url, bucket, small = settings.s3_endpoint_url, settings.s3_bucket, settings.s3_bucket.lower()
    if (answer.operation, answer.code) in _AS_OBJECT and (without := _without_bucket(settings)):
        return (
            f"the address of the store, {url}, has the bucket in it",
            f"Set backup_s3_endpoint_url (in the config: S3_ENDPOINT_URL) to {without}",
        )
    if answer.code in ("NoSuchBucket", "InvalidBucketName") and bucket != small:
        return (
            f"there is no bucket {bucket!r} at {url}, and new ones have small letters",
            f"Set backup_s3_bucket (in the config: S3_BUCKET_NAME) to {small}, if that is it",
        )
    if answer.code == "NoSuchBucket":
        return (
            f"there is no bucket {bucket!r} at {url}",
            "Check backup_s3_bucket, or let `ansible-playbook setup.yml` create it",
        )
    if answer.code == "NoSuchKey":
        return (
            f"there is no such object in the bucket {bucket!r}",
            "Run `postgres-backup list` to see what is there",
        )
    return None


def _wrong_key(answer: _Answer, settings: Settings) -> Why | None:
    if answer.code in ("InvalidAccessKeyId", "InvalidAccessKey", "UnrecognizedClientException"):
        return (
            "the store does not know the access key",
            (
                "Check backup_s3_access_key (in the config: AWS_ACCESS_KEY_ID), "
                "and that it belongs to this endpoint"
            ),
        )
    if answer.code == "SignatureDoesNotMatch":
        return (
            "the secret key does not fit the access key",
            "Check backup_s3_secret_key (in the config: AWS_SECRET_ACCESS_KEY)",
        )
    return None


def _no_room(answer: _Answer, settings: Settings) -> Why | None:
    """Nothing more fits in, or what is there must be fetched first."""
    if answer.full:
        why = f": {answer.said}" if answer.said else ""
        return (
            f"the store is full, or a quota is used up ({answer.status} {answer.code}{why})",
            (
                "Raise the quota at the provider, or delete there what nobody needs; "
                "with a smaller backup_retention_days fewer backups are kept"
            ),
        )
    if answer.code == "InvalidObjectState":
        return (
            "it lies in cold storage, from where it must be fetched first",
            (
                "Fetch it in the provider's console (or: aws s3api restore-object) and try again "
                "when it is there; remove the lifecycle rule of the bucket "
                f"{settings.s3_bucket!r} that moves backups away"
            ),
        )
    return None


def _wrong_time(answer: _Answer, settings: Settings) -> Why | None:
    if answer.code in _EXPIRED:
        return (
            "the time of the access key is over" + (f" ({answer.said})" if answer.said else ""),
            (
                "Make a key without an end at the provider, and set backup_s3_access_key and "
                "backup_s3_secret_key"
            ),
        )
    if answer.code in CLOCK_CODES:
        return (
            "the clocks of this machine and of the store differ too much",
            "Set this machine's clock right: `timedatectl` shows whether it is synchronized",
        )
    return None


def _elsewhere(answer: _Answer, settings: Settings) -> Why | None:
    """The bucket, or the store itself, is at another address."""
    if answer.code in _OTHER_REGION or (answer.status in (301, 400) and answer.region):
        expected = f", the store expects {answer.region!r}" if answer.region else ""
        return (
            f"the region {settings.s3_region!r} is not the bucket's{expected}",
            "Check backup_s3_region and backup_s3_endpoint_url: they must be those of the bucket",
        )
    if answer.status in (301, 302, 307, 308) and answer.headers.get("location"):
        return _sent_elsewhere(settings, answer.headers["location"])
    return None


def _no_store(answer: _Answer, settings: Settings) -> Why | None:
    """Somebody else answers, in the store's place."""
    if answer.status in (407, 511):
        wants = f"a proxy or a network that wants a sign-in ({answer.status})"
        return _somebody_else(settings, wants)
    page = answer.headers.get("content-type", "").lower().startswith("text/html")
    if page and answer.unsaid and answer.status not in (502, 503, 504):
        return _somebody_else(settings, f"a web page ({answer.status})")
    return None


def _any_other(answer: _Answer, settings: Settings) -> Why:
    status, code, said = answer.status, answer.code, answer.said
    if status == 403:
        own = said.rstrip(".") not in ("", "Access Denied", "Forbidden")
        return (
            f"the store does not allow it to this key{f' ({said})' if own else ''}",
            f"Check backup_s3_access_key and its rights on the bucket {settings.s3_bucket!r}",
        )
    if answer.unsaid and status < 500:
        return (
            f"{settings.s3_endpoint_url} answers, but not as S3 does (HTTP {status})",
            (
                "Check backup_s3_endpoint_url: the address of the S3 service, "
                "not of its web console, and without the bucket"
            ),
        )
    answered = f"{status} {code}" if code != str(status) else str(status)
    if answer.transient:
        return (
            f"the store goes on failing ({answered}{': ' + said if said else ''})",
            "Wait and try again; if it lasts, ask the provider",
        )
    return (
        f"the store answered {answered}{': ' + said if said else ''}",
        "Check the key, the bucket and the region of the settings (backup_s3_...)",
    )


def _headers(error: botocore.exceptions.ClientError) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).items()
    }


def _without_bucket(settings: Settings) -> str:
    """The endpoint without the bucket that stands at its end, or in front of its host; empty where
    none does. (A gateway may be called like a bucket all the same: see :data:`_AS_OBJECT`.)
    """
    address = urlsplit(settings.s3_endpoint_url)
    front, host = f"{settings.s3_bucket}.".lower(), address.netloc
    path = address.path.rstrip("/")
    if path.endswith(f"/{settings.s3_bucket}"):
        path = path.removesuffix(f"/{settings.s3_bucket}")
    elif host.lower().startswith(front) and "." in host[len(front) :]:
        host = host[len(front) :]
    else:
        return ""
    return f"{address.scheme}://{host}{path}"


def _sent_elsewhere(settings: Settings, where: str) -> Why:
    return (
        f"{settings.s3_endpoint_url} sends elsewhere: {printable(where)[:_ADDRESS]}",
        (
            "Check backup_s3_endpoint_url: https:// instead of http://? Or a proxy, or the sign-in "
            "page of a network, answers in its place"
        ),
    )


def _somebody_else(settings: Settings, what: str) -> Why:
    return (
        f"what answers at {settings.s3_endpoint_url} is not S3, but {what}",
        (
            "Look with `curl -i` who it is: a proxy (HTTPS_PROXY, NO_PROXY), the sign-in page of a "
            "network, or the store's web console; backup_s3_endpoint_url is the address of the S3 "
            "service, without the bucket"
        ),
    )


def _unreachable(error: Exception, settings: Settings, silence: float) -> Why:
    """Why there is no answer of a store at all."""
    url, text = settings.s3_endpoint_url, str(error)
    address = urlsplit(url)
    if isinstance(error, botocore.exceptions.SSLError):
        return _tls(settings, text)
    if isinstance(error, botocore.exceptions.ProxyConnectionError):
        return f"the proxy in front of {url} does not answer", "Check HTTPS_PROXY and NO_PROXY"
    if isinstance(error, botocore.exceptions.EndpointConnectionError):
        if not _resolves(address.hostname or ""):
            return (
                f"the name {address.hostname} cannot be resolved",
                "Check backup_s3_endpoint_url for a slip, and this machine's DNS",
            )
        refused = "refused" in str(error.kwargs.get("error"))
        return f"nothing answers at {url}{' (connection refused)' if refused else ''}", _CHECK
    if isinstance(error, botocore.exceptions.ConnectTimeoutError):
        return (
            f"{url} did not answer within {min(CONNECT_TIMEOUT, silence):.0f} seconds",
            "Check backup_s3_endpoint_url, and whether a firewall is in between",
        )
    if isinstance(error, botocore.exceptions.ReadTimeoutError):
        return (
            f"{url} took the request and was then silent for {silence:.0f} seconds",
            "Wait and try again; if it lasts, ask the provider",
        )
    if isinstance(error, (WentInACircle, OddAnswer, *NOT_AS_S3)):
        return _not_as_s3(error, settings)
    if isinstance(error, botocore.exceptions.HTTPClientError):
        return (
            f"the connection to {url} broke off",
            "Check backup_s3_endpoint_url (https:// or http://?), and the network in between",
        )
    return " ".join(text.split())[:300], _CHECK


def _tls(settings: Settings, text: str) -> Why:
    """:param text: what OpenSSL says."""
    url = settings.s3_endpoint_url
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return (
            f"the certificate of {url} is not trusted{f' ({why})' if why else ''}",
            (
                "If its CA is your own, name the CA's file in backup_s3_ca_bundle "
                "(in the config: S3_CA_BUNDLE)"
            ),
        )
    if "WRONG_VERSION_NUMBER" in text:
        return (
            f"{url} does not speak TLS",
            "Check backup_s3_endpoint_url: http:// instead of https://, or another port?",
        )
    return f"TLS with {url} broke off", _CHECK


def _not_as_s3(error: Exception, settings: Settings) -> Why:
    """Why an answer is none of S3's."""
    url = settings.s3_endpoint_url
    if isinstance(error, WentInACircle):
        return (
            f"{url} sends from one place to the next, and back",
            (
                "Check backup_s3_endpoint_url and backup_s3_region; "
                "if both are right, ask whoever runs the store or the proxy in front of it"
            ),
        )
    if isinstance(error, SentElsewhere):
        return _sent_elsewhere(settings, str(error))
    if isinstance(error, SomebodyElse):
        return _somebody_else(settings, str(error))
    return (
        f"{url} answers, but not as S3 does{_oddity(error)}",
        (
            "Check backup_s3_endpoint_url: the address of the S3 service, not of its web "
            "console; if it is right, a proxy in front of it may change its answers"
        ),
    )


def _oddity(error: Exception) -> str:
    """What is odd about an answer, in brackets; empty where nothing more is known."""
    if isinstance(error, OddAnswer):
        return f" ({error})"
    if isinstance(error, KeyError) and error.args:
        return f" (there is no {error.args[0]} in it)"
    return ""


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
