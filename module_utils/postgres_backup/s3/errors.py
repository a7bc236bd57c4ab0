"""What goes wrong with a store, as errors, and which of it passes by itself. What each means for a
person stands in :mod:`.explanations`.
"""

from __future__ import annotations

import botocore.exceptions
import botocore.parsers

from ..errors import PostgresBackupError, StoreError
from ..findings import Finding, finding
from .calls import Call, Part

CONNECT_TIMEOUT = 10
READ_TIMEOUT = 60
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
NOT_AS_S3 = (botocore.parsers.ResponseParserError, KeyError, ValueError, OverflowError)
#: what a call raises that reached no S3, or one that refused
FAILURES = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    OddAnswer,
    WentInACircle,
    *NOT_AS_S3,
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


#: of an answer of a store that the clock of one of the two is wrong
CLOCK_CODES = ("RequestTimeTooSkewed", "RequestExpired")
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


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(error, botocore.exceptions.ClientError):
        if is_full(error):
            return False
        return status_of(error) in _TRANSIENT_STATUS or code_of(error) in _TRANSIENT_CODES
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
        status = status_of(error)
        failing = status >= 500 and status not in _FOR_GOOD and not is_full(error)
        return failing or is_transient(error) or code_of(error) in CLOCK_CODES
    return is_transient(error)


def code_of(error: botocore.exceptions.ClientError) -> str:
    """S3's word for what is wrong; empty where the answer has none."""
    return str(error.response.get("Error", {}).get("Code") or "")


def status_of(error: botocore.exceptions.ClientError) -> int:
    """The HTTP status of the answer; 0 where there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_full(error: botocore.exceptions.ClientError) -> bool:
    """Whether the store takes nothing more."""
    return code_of(error) in _FULL or status_of(error) == 507
