"""What S3 and botocore say when something fails, as one sentence for a person and what to check."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.parsers

from ..errors import PostgresBackupError, StoreError
from ..findings import Finding, finding
from ..settings import Settings
from ..text import printable
from .calls import Call, Part

CONNECT_TIMEOUT = 10
READ_TIMEOUT = 60
#: letters of an address that an error hands on
_ADDRESS = 120
#: answers after which the same call may well succeed; the digests are of bodies damaged on the way
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    "RequestTimeout",
    "SlowDown",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "IncompleteBody",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
}


class OddAnswer(Exception):
    """An answer of the store in which something is not as S3 has it; the text says what."""


class SomebodyElse(OddAnswer):
    """What answered is no S3 at all; the text says what it is.

    :ivar passes: the next answer may be the store's.
    """

    def __init__(self, what: str, passes: bool) -> None:
        super().__init__(what)
        self.passes = passes


class SentElsewhere(OddAnswer):
    """What answered names another address, which it is not S3's way to do; the text is it."""


class WentInACircle(Exception):
    """One call of ours became request after request: what answers sends from one place to the
    next.
    """


#: what an answer raises that is none of S3's: no such XML, a field that is missing, no such number
#: or date
_NOT_AS_S3 = (botocore.parsers.ResponseParserError, KeyError, ValueError, OverflowError)
#: what a call raises that reached no S3, or one that refused
FAILURES = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    OddAnswer,
    WentInACircle,
    *_NOT_AS_S3,
)


class CallFailed(StoreError):
    """A call to the store did not do what it was for.

    :ivar call: what it was.
    """

    def __init__(self, call: Call, message: str, hint: str = "", passes: bool = False) -> None:
        super().__init__(message, hint, passes=passes)
        self.call = call


class Refused(CallFailed):
    """The store answered, and the answer was no.

    :ivar code: S3's word for it, such as ``NoSuchKey``; the HTTP status where the answer had none.
    :ivar status: the HTTP status.
    :ivar headers: of the answer, names in small letters.
    """

    def __init__(
        self,
        call: Call,
        message: str,
        hint: str,
        code: str,
        status: int,
        headers: dict[str, str],
        passes: bool = False,
    ) -> None:
        super().__init__(call, message, hint, passes)
        self.code, self.status, self.headers = code, status, headers


class NotAsS3(CallFailed):
    """What answered is not S3, or was changed on the way."""


class NotS3(NotAsS3):
    """What answered is somebody else: it says nothing of what the store knows."""


#: how stores say that they do not know a setting of buckets; the last two do not look at what is to
#: be set, and believe that the bucket is to be made (nanio)
_UNKNOWN_SETTING = {
    "NotImplemented",
    "MethodNotAllowed",
    "NotSupported",
    "UnsupportedOperation",
    "XNotImplemented",
    "BucketAlreadyOwnedByYou",
    "BucketAlreadyExists",
}


def lacks_setting(error: Refused) -> bool:
    """Whether a store does not know a setting of buckets, or does not let this key near it."""
    return error.code in _UNKNOWN_SETTING or error.status in (403, 405, 501)


class Stopped(CallFailed):
    """The call was given up because its upload is being aborted."""


class may_fail:
    """In here housekeeping that the store does not do becomes a finding; a call that is the backup
    itself raises as ever.

    :param findings: gets them.
    :param counts_as: the housekeeping that all of this is, where it asks what others ask too.
    """

    def __init__(self, findings: list[Finding], counts_as: Call | None = None) -> None:
        self._findings, self._counts_as = findings, counts_as

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, PostgresBackupError):
            return False
        call = error.call if isinstance(error, CallFailed) else None
        if call is None or call.part is Part.ASKED:
            call = self._counts_as
        if call is None or call.part is not Part.HOUSEKEEPING:
            return False
        told = f"{error.message}. {error.hint}" if error.hint else error.message
        self._findings += [finding(call.finding, told), *error.findings]
        return True


#: calls and answers that show that the store took the bucket's name for that of an object
_AS_OBJECT = {("ListObjectsV2", "NoSuchKey"), ("CreateBucket", "NoSuchBucket")}
_CLOCK_CODES = ("RequestTimeTooSkewed", "RequestExpired")
#: of a failing store's answers those that stay: not implemented, no room left
_FOR_GOOD = (501, 507)
#: how stores say that nothing more fits in; some with 403, as if it were a matter of rights
_FULL = {
    "QuotaExceeded",
    "QuotaExceededException",
    "InsufficientStorage",
    "InsufficientStorageSpace",
    "StorageQuotaExceeded",
    "StorageLimitExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "DiskQuotaExceeded",
    "UserQuotaExceeded",
    "BucketQuotaExceeded",
}
#: a key that was good until some time; only with 400 or 403
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, botocore.exceptions.ClientError):
        if _is_full(error):
            return False
        return _status(error) in _TRANSIENT_STATUS or _code(error) in _TRANSIENT_CODES
    if isinstance(error, SomebodyElse):
        return error.passes
    if isinstance(error, botocore.exceptions.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error) and "WRONG_VERSION_NUMBER" not in str(
            error
        )
    return isinstance(
        error, (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
    )


def may_pass(error: Exception) -> bool:
    """Whether the same call may succeed in an hour: besides what :func:`is_transient` knows, a
    failing gateway of any number, and a clock that is set right meanwhile. Not a store that is
    full or lacks the call.
    """
    if isinstance(error, botocore.exceptions.ClientError):
        status = _status(error)
        failing = status >= 500 and status not in _FOR_GOOD and not _is_full(error)
        return failing or is_transient(error) or _code(error) in _CLOCK_CODES
    return is_transient(error)


def _code(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code") or "")


def _status(error: botocore.exceptions.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_full(error: botocore.exceptions.ClientError) -> bool:
    return _code(error) in _FULL or _status(error) == 507


def _headers(error: botocore.exceptions.ClientError) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).items()
    }


def explain(
    error: Exception, call: Call, doing: str, settings: Settings, silence: float = READ_TIMEOUT
) -> CallFailed:
    """A failure of botocore as one sentence for a person, and what to check.

    :param silence: seconds that the store might be silent.
    """
    if isinstance(error, botocore.exceptions.ClientError):
        cause, hint = _refusal(error, settings)
        refused = Refused(
            call,
            f"Failed to {doing}: {cause}",
            settings.named(hint),
            _code(error),
            _status(error),
            _headers(error),
            may_pass(error),
        )
        if _code(error) in _CLOCK_CODES:
            refused.findings.append(finding("CLOCK_DIFFERS", cause))
        return refused
    cause, hint = _unreachable(error, settings, silence)
    kind = CallFailed
    if isinstance(error, (OddAnswer, *_NOT_AS_S3)):
        kind = NotS3 if isinstance(error, (SomebodyElse, SentElsewhere)) else NotAsS3
    return kind(call, f"Failed to {doing}: {cause}", settings.named(hint), may_pass(error))


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


def _refusal(error: botocore.exceptions.ClientError, settings: Settings) -> tuple[str, str]:
    code, status, headers = _code(error), _status(error), _headers(error)
    answer, url = error.response.get("Error", {}), settings.s3_endpoint_url
    said = " ".join(str(answer.get("Message") or "").split())[:200]
    region = answer.get("Region") or headers.get("x-amz-bucket-region")
    if (error.operation_name, code) in _AS_OBJECT and (without := _without_bucket(settings)):
        return (
            f"the address of the store, {url}, has the bucket in it",
            f"Set backup_s3_endpoint_url (in the config: S3_ENDPOINT_URL) to {without}",
        )
    small = settings.s3_bucket.lower()
    if code in ("NoSuchBucket", "InvalidBucketName") and settings.s3_bucket != small:
        return (
            f"there is no bucket {settings.s3_bucket!r} at {url}, and new ones have small letters",
            f"Set backup_s3_bucket (in the config: S3_BUCKET_NAME) to {small}, if that is it",
        )
    if code == "NoSuchKey":
        return (
            f"there is no such object in the bucket {settings.s3_bucket!r}",
            "Run `postgres-backup list` to see what is there",
        )
    if code in ("InvalidAccessKeyId", "InvalidAccessKey", "UnrecognizedClientException"):
        return (
            "the store does not know the access key",
            (
                "Check backup_s3_access_key (in the config: AWS_ACCESS_KEY_ID), "
                "and that it belongs to this endpoint"
            ),
        )
    if code == "SignatureDoesNotMatch":
        return (
            "the secret key does not fit the access key",
            "Check backup_s3_secret_key (in the config: AWS_SECRET_ACCESS_KEY)",
        )
    if code == "NoSuchBucket":
        return (
            f"there is no bucket {settings.s3_bucket!r} at {url}",
            "Check backup_s3_bucket, or let `ansible-playbook setup.yml` create it",
        )
    if _is_full(error):
        why = f": {said}" if said else ""
        return (
            f"the store is full, or a quota is used up ({status} {code}{why})",
            (
                "Raise the quota at the provider, or delete there what nobody needs; "
                "with a smaller backup_retention_days fewer backups are kept"
            ),
        )
    if code == "InvalidObjectState":
        return (
            "it lies in cold storage, from where it must be fetched first",
            (
                "Fetch it in the provider's console (or: aws s3api restore-object) and try again "
                "when it is there; remove the lifecycle rule of the bucket "
                f"{settings.s3_bucket!r} that moves backups away"
            ),
        )
    if code in _EXPIRED:
        return (
            "the time of the access key is over" + (f" ({said})" if said else ""),
            (
                "Make a key without an end at the provider, and set backup_s3_access_key and "
                "backup_s3_secret_key"
            ),
        )
    if code in _CLOCK_CODES:
        return (
            "the clocks of this machine and of the store differ too much",
            "Set this machine's clock right: `timedatectl` shows whether it is synchronized",
        )
    if code in (
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "IllegalLocationConstraintException",
        "InvalidRegion",
    ) or (status in (301, 400) and region):
        expected = f", the store expects {region!r}" if region else ""
        return (
            f"the region {settings.s3_region!r} is not the bucket's{expected}",
            "Check backup_s3_region and backup_s3_endpoint_url: they must be those of the bucket",
        )
    if status in (301, 302, 307, 308) and headers.get("location"):
        return _sent_elsewhere(settings, headers["location"])
    if status in (407, 511):
        return _somebody_else(settings, f"a proxy or a network that wants a sign-in ({status})")
    unsaid = not code or code.isdigit()
    is_page = headers.get("content-type", "").lower().startswith("text/html") and unsaid
    if is_page and status not in (502, 503, 504) and not error.operation_name.startswith("Head"):
        return _somebody_else(settings, f"a web page ({status})")
    if status == 403:
        why = (
            f" ({said})" if said and said.rstrip(".") not in ("Access Denied", "Forbidden") else ""
        )
        return (
            f"the store does not allow it to this key{why}",
            f"Check backup_s3_access_key and its rights on the bucket {settings.s3_bucket!r}",
        )
    if unsaid and status < 500 and not error.operation_name.startswith("Head"):
        return (
            f"{url} answers, but not as S3 does (HTTP {status})",
            (
                "Check backup_s3_endpoint_url: the address of the S3 service, "
                "not of its web console, and without the bucket"
            ),
        )
    answered = f"{status} {code}" if code != str(status) else str(status)
    if is_transient(error):
        return (
            f"the store goes on failing ({answered}{': ' + said if said else ''})",
            "Wait and try again; if it lasts, ask the provider",
        )
    return (
        f"the store answered {answered}{': ' + said if said else ''}",
        "Check the key, the bucket and the region of the settings (backup_s3_...)",
    )


def _sent_elsewhere(settings: Settings, where: str) -> tuple[str, str]:
    return (
        f"{settings.s3_endpoint_url} sends elsewhere: {printable(where)[:_ADDRESS]}",
        (
            "Check backup_s3_endpoint_url: https:// instead of http://? Or a proxy, or the sign-in "
            "page of a network, answers in its place"
        ),
    )


def _somebody_else(settings: Settings, what: str) -> tuple[str, str]:
    return (
        f"what answers at {settings.s3_endpoint_url} is not S3, but {what}",
        (
            "Look with `curl -i` who it is: a proxy (HTTPS_PROXY, NO_PROXY), the sign-in page of a "
            "network, or the store's web console; backup_s3_endpoint_url is the address of the S3 "
            "service, without the bucket"
        ),
    )


def _unreachable(error: Exception, settings: Settings, silence: float) -> tuple[str, str]:
    url, text = settings.s3_endpoint_url, str(error)
    address = urlsplit(url)
    check = "Check backup_s3_endpoint_url, and that this machine may reach it"
    if isinstance(error, botocore.exceptions.SSLError):
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
        return f"TLS with {url} broke off", check
    if isinstance(error, botocore.exceptions.ProxyConnectionError):
        return f"the proxy in front of {url} does not answer", "Check HTTPS_PROXY and NO_PROXY"
    if isinstance(error, botocore.exceptions.EndpointConnectionError):
        if not _resolves(address.hostname or ""):
            return (
                f"the name {address.hostname} cannot be resolved",
                "Check backup_s3_endpoint_url for a slip, and this machine's DNS",
            )
        refused = "refused" in str(error.kwargs.get("error"))
        return f"nothing answers at {url}{' (connection refused)' if refused else ''}", check
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
    if isinstance(error, (OddAnswer, *_NOT_AS_S3)):
        return (
            f"{url} answers, but not as S3 does{_oddity(error)}",
            (
                "Check backup_s3_endpoint_url: the address of the S3 service, not of its web "
                "console; if it is right, a proxy in front of it may change its answers"
            ),
        )
    if isinstance(error, botocore.exceptions.HTTPClientError):
        return (
            f"the connection to {url} broke off",
            "Check backup_s3_endpoint_url (https:// or http://?), and the network in between",
        )
    return " ".join(text.split())[:300], check


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
