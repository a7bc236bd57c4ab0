"""Who answers in the store's place: a proxy, the sign-in page of a network, a web console.

They answer everything well, with a page for people; so what is no S3 at all is told by what comes,
and not by the status before it. What lies in the store may be a page too, where its name says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, TypedDict

from ..text import printable
from .errors import SentElsewhere, SomebodyElse

#: bytes of an answer in which words of a page are looked for
BEGINS = 1000
#: how answers call a page
_CALLED_PAGE = ("text/html", "application/xhtml+xml")
#: what we wrote beside the dumps: no page, however it is called
_OURS = (".json", ".sig")
#: what may be one: the report, and what others put there
_MAY_BE_PAGE = (".html", ".htm", ".xhtml")
#: what only a page begins with, whatever it is called
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
#: and what may stand in one that is called so, which need not have either
_IN_PAGE = re.compile(
    rb"<(?:!doctype\s+html|html|head|title|meta|link|script|style|body|h\d|p|a|div|form|iframe)\b",
    re.IGNORECASE,
)
#: statuses that name another address
_ELSEWHERE = (301, 302, 303, 307, 308)
_TITLE = re.compile(rb"<title[^>]*>(.*?)<", re.IGNORECASE | re.DOTALL)
#: letters of a page's title, or of a text, that an error hands on
_LETTERS = 60


class _Stream(Protocol):
    def close(self) -> None: ...


class _Told(TypedDict):
    operation_name: str


class Answer(TypedDict):
    """What botocore's event ``before-parse`` shows of an answer; an object's bytes are a stream."""

    headers: Mapping[str, str]
    status_code: int
    context: _Told
    body: bytes | _Stream


def called_page(headers: Mapping[str, str]) -> bool:
    """Whether an answer is called a page; some gateways call an empty one so, or what they keep."""
    return _kind(headers).startswith(_CALLED_PAGE)


def require_no_page(key: str, headers: Mapping[str, str], begins: bytes, passes: bool) -> None:
    """Look at the first bytes of an object.

    :param headers: of the answer.
    :param passes: the next answer may be the store's; not where such an object may lie there.
    :raises SomebodyElse: they are a page's, and no object of that name is one.
    """
    if key.lower().endswith(_MAY_BE_PAGE):
        return
    may = called_page(headers) or not _kind(headers) or key.endswith(_OURS)
    if may and _is_page(headers, begins):
        raise SomebodyElse(_page(begins), passes)


def require_s3(response_dict: Answer, **_: object) -> None:
    """What botocore is to call before it reads an answer (``before-parse.s3``).

    :raises SentElsewhere: it is a redirection by somebody else.
    :raises SomebodyElse: it is none of S3's. Of a refusal that is for its status to say; but "not
        found" by a page must not pass for an object that is not there.
    """
    status, headers, body = (
        response_dict["status_code"],
        response_dict["headers"],
        response_dict["body"],
    )
    of_s3 = any(name.lower().startswith("x-amz-") for name in headers)
    operation = response_dict["context"]["operation_name"]
    if status in _ELSEWHERE and not of_s3 and operation != "HeadBucket":
        # botocore would ask for the bucket's region (HeadBucket), and be sent elsewhere, and so on
        where = headers.get("location")
        if where and isinstance(body, bytes) and b"<Code>" not in body:
            raise SentElsewhere(where)
    if status >= 300 and status != 404:
        return
    if operation == "HeadObject":
        # no body tells more: whoever asked reads the object itself then
        if called_page(headers) and not of_s3:
            raise SomebodyElse("a web page", passes=False)
    elif isinstance(body, bytes) and body.strip():
        if _is_page(headers, body):
            raise SomebodyElse(_page(body), passes=True)
        if status < 300 and not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise SomebodyElse(f"a text ({_quoted(body)})", passes=True)


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    begins = body[:BEGINS]
    if _PAGE.match(begins):
        return True
    packed = headers.get("content-encoding", "identity") != "identity"
    return called_page(headers) and bool(packed or _IN_PAGE.search(begins))


def _kind(headers: Mapping[str, str]) -> str:
    # botocore shows them in small letters in its answers, and as any before
    return (headers.get("content-type") or "").strip().lower()


def _page(body: bytes) -> str:
    title = _TITLE.search(body[:BEGINS])
    return f"a web page ({_quoted(title[1])})" if title and title[1].strip() else "a web page"


def _quoted(text: bytes) -> str:
    letters = " ".join(text[:BEGINS].decode("utf-8", "replace").split())
    return f'"{printable(letters[:_LETTERS])}{"..." if len(letters) > _LETTERS else ""}"'
