"""Who answers is told by what comes: a page is one whatever it is called, and S3 sends none."""

from __future__ import annotations

import pytest

from postgres_backup.s3.errors import SentElsewhere, SomebodyElse
from postgres_backup.s3.somebody_else import require_no_page, require_s3

LISTING = b'<?xml version="1.0"?>\n<ListBucketResult><Name>b</Name></ListBucketResult>'
REFUSAL = b'<?xml version="1.0"?><Error><Code>TemporaryRedirect</Code></Error>'
XHTML = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a --><!DOCTYPE html PUBLIC "x"><html></html>'
HTML = {"content-type": "text/html"}


def seen(status: int, headers: dict[str, str], body: object, operation: str = "ListObjectsV2"):
    require_s3({
        "status_code": status,
        "headers": headers,
        "body": body,
        "context": {"operation_name": operation},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "body", "what"),
    [
        (HTML, b"<html></html>", "a web page"),
        ({"content-type": "Text/HTML; charset=utf-8"}, b"<H1>Hello</H1>", "a web page"),
        (HTML, b"<title>\n Sign in\x1b[2J </title>", r'a web page ("Sign in\x1b[2J")'),
        (HTML, b"<script>location='http://portal/'</script>", "a web page"),
        (HTML | {"content-encoding": "gzip"}, b"\x1f\x8b", "a web page"),
        ({}, b" \n<!doctype HTML><p>", "a web page"),
        ({"content-type": "application/xml"}, XHTML, "a web page"),
        ({"content-type": "application/json"}, b'{"error":1}', 'a text ("{"error":1}")'),
        ({}, b"x" * 100, f'a text ("{"x" * 60}...")'),
    ],
)
@pytest.mark.parametrize("operation", ["ListObjectsV2", "PutObject", "DeleteObject"])
def test_what_is_no_s3_is_said(headers, body, what, operation):
    with pytest.raises(SomebodyElse) as caught:
        seen(200, headers, body, operation)
    assert str(caught.value) == what
    assert caught.value.passes


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"content-type": "application/xml"}, LISTING),
        (200, HTML, LISTING),  # a gateway that calls everything so
        (200, HTML, b""),  # or what is empty
        (204, {}, b"  "),
        (200, HTML, object()),  # a stream, which is looked at where it is read
        (404, HTML, REFUSAL),
        (503, HTML, b"<html>"),  # the status says more
        (500, {}, b"Internal Server Error"),
        (404, {"content-type": "text/plain"}, b"404 page not found"),
        (307, {"location": "https://other"}, REFUSAL),
        (301, {"location": "https://other", "x-amz-bucket-region": "eu-1"}, b""),
        (301, {}, b""),
    ],
)
def test_what_may_be_s3_is_left_alone(status, headers, body):
    seen(status, headers, body)


def test_a_page_that_says_not_found_is_no_answer_to_whether_an_object_is_there():
    with pytest.raises(SomebodyElse):
        seen(404, HTML, b"<html>404</html>", "GetObject")
    with pytest.raises(SomebodyElse):
        seen(404, HTML, b"", "HeadObject")
    with pytest.raises(SomebodyElse):
        seen(200, HTML, b"", "HeadObject")
    seen(200, HTML | {"X-Amz-Request-Id": "1"}, b"", "HeadObject")  # it lies there
    seen(404, {"content-type": "application/xml"}, b"", "HeadObject")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_where_somebody_sends_is_no_place_of_the_store(status):
    with pytest.raises(SentElsewhere, match="http://portal/login"):
        seen(status, HTML | {"location": "http://portal/login"}, b"<html>")


def test_an_object_is_a_page_only_where_it_may_be_none():
    page, xml = b"<html>Sign in</html>", {"content-type": "application/octet-stream"}
    for key, headers in (("a.sql.gz", HTML), ("a.sql.gz", {}), ("a.json", xml), ("a.sig", xml)):
        with pytest.raises(SomebodyElse) as caught:
            require_no_page(key, headers, page, passes=False)
        assert not caught.value.passes
    require_no_page("report.html", HTML, page, passes=False)
    require_no_page("a.sql.gz", xml, page, passes=False)  # it lies there, and is told as damaged
    require_no_page("a.sql", HTML, b"--\n-- PostgreSQL database dump\n--", passes=False)
