"""Long pages of a listing say what botocore reads there; what is odd is left to it."""

from __future__ import annotations

import pytest
from botocore.parsers import ResponseParserError, create_parser

from postgres_backup.s3 import long_pages
from postgres_backup.s3.client import _moment, _session

OBJECT = (
    "<Contents><Key>p/{at}%20&amp;&#233;.json</Key><LastModified>2026-01-27T00:00:0{at}Z"
    "</LastModified><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>{at}</Size>"
    "<StorageClass>STANDARD</StorageClass><Owner><ID>x</ID></Owner></Contents>"
)
SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(space: str = SPACE, odd: str = "", tag: str = "ListBucketResult") -> bytes:
    objects = "".join(OBJECT.format(at=number % 10) for number in range(30))
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag}{space}><Name>b</Name><Prefix>p</Prefix>'
        f"<KeyCount>30</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>{objects}"
        f"{odd}<CommonPrefixes><Prefix>p/x/</Prefix></CommonPrefixes>"
        f"<NextContinuationToken>n&lt;</NextContinuationToken></{tag}>"
    )
    return text.encode()


def read(body: bytes, by_us: bool, status: int = 200) -> object:
    """What comes of a page, as ``botocore.endpoint`` goes about it, or what is wrong with it."""
    model = _session().client("s3", region_name="x").meta.service_model
    answer = {"status_code": status, "headers": {}, "body": body}
    made: dict[str, object] = {}
    if by_us:
        long_pages.reader(_moment)(answer, made)  # type: ignore[arg-type]  # with its headers
    parser = create_parser("rest-xml")
    parser._timestamp_parser = _moment
    try:
        shape = model.operation_model("ListObjectsV2").output_shape
        found = parser.parse(answer, shape) | made
        found.setdefault("Contents", [])
    except (ResponseParserError, ValueError, TypeError) as error:
        return str(error)[:60]
    for one in found["Contents"] if status == 200 else ():
        one.pop("StorageClass", None)
        one.pop("Owner", None)
    return found, bool(made)


def test_it_is_what_botocore_reads():
    for body in (page(), page(space=""), page(odd="<Contents><Key/><Size>0</Size></Contents>")):
        ours, done = read(body, by_us=True)
        theirs, _ = read(body, by_us=False)
        assert done
        assert ours == theirs
        assert len(ours["Contents"]) >= 30


@pytest.mark.parametrize(
    "body",
    [
        page(odd="<Contents><Key>k</Key></Contents>"),
        page(odd="<Contents><Size>1</Size></Contents>"),
        page(odd="<Contents><Key>k</Key><Size>many</Size></Contents>"),
        page(odd="<Contents><Key><b/></Key><Size>1</Size></Contents>"),
        page(odd="<Contents><Key>k</Key><Size>1</Size><LastModified>x</LastModified></Contents>"),
        page(tag="Other"),
        page()[:-20],
        b"<ListBucketResult/>",
        b"<Contents>" * 30,
        b"",
    ],
)
def test_what_is_odd_is_left_to_botocore(body):
    ours = read(body, by_us=True)
    assert ours == read(body, by_us=False)
    assert isinstance(ours, str) or not ours[1]


def test_an_error_is_none_of_its_business():
    assert read(page(), by_us=True, status=503) == read(page(), by_us=False, status=503)
