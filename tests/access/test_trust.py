"""Open mode: what a program on this machine may send, and a web page may not."""

from __future__ import annotations

import pytest

from headgate.access.trust import refuse
from headgate.errors import Reason

HOST = (b"host", b"127.0.0.1:4000")
JSON = (b"content-type", b"application/json")


def _reason(method: str, *headers: tuple[bytes, bytes]) -> Reason | None:
    problem = refuse(method, headers)
    return None if problem is None else problem.reason


LOCAL_NAMES = [
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "app.localhost",
    "a.b-c.localhost",
    "127.0.0.1",
    "127.0.0.0",
    "127.1.2.3",
    "127.255.255.255",
    "[::1]",
]

FOREIGN_NAMES = [
    "",
    " ",
    "example.com",
    "localhost.evil.com",
    "127.0.0.1.evil.com",
    "127.0.0.1@evil",
    "127.0.0.1@evil.com",
    "evil@127.0.0.1",
    "user:pw@localhost",
    "evil.com#localhost",
    "evil.com/localhost",
    "localhost/",
    "localhost\\evil.com",
    "localhost?x",
    "localhost#",
    "evil.com,localhost",
    "localhost,evil.com",
    "localhost, localhost",
    "evil.com localhost",
    "localhost evil.com",
    "localhost\t",
    "localhost\n",
    " localhost",
    "evillocalhost",
    "evil-localhost",
    "localhosts",
    "localhost.",
    "localhost..",
    ".localhost",
    "a..localhost",
    "-.localhost",
    "a-.localhost",
    "*.localhost",
    "evil_.localhost",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127",
    "2130706433",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.256",
    "127.0.0.1.1",
    "127.0.0.",
    "128.0.0.1",
    "1127.0.0.1",
    "126.255.255.255",
    "0.0.0.0",
    "0",
    "10.0.0.1",
    "192.168.1.10",
    "169.254.169.254",
    "::1",
    "[::1",
    "::1]",
    "[::]",
    "[::2]",
    "[::1%lo]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[fe80::1]",
    "[127.0.0.1]",
    "[localhost]",
    "[::1].evil.com",
    "localhost%00.evil.com",
    "localhost\0",
    "l\u00f6calhost",
    "\uff4cocalhost",
    "host.docker.internal",
    "my-laptop",
    "my-laptop.local",
]


@pytest.mark.parametrize("name", LOCAL_NAMES)
@pytest.mark.parametrize("port", ["", ":1", ":80", ":4000", ":65535"])
def test_a_host_on_this_machine_passes_with_any_port(name: str, port: str) -> None:
    assert _reason("POST", (b"host", f"{name}{port}".encode()), JSON) is None


@pytest.mark.parametrize("name", FOREIGN_NAMES)
@pytest.mark.parametrize("port", ["", ":4000"])
def test_any_other_host_is_refused(name: str, port: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
        assert _reason(method, (b"host", f"{name}{port}".encode()), JSON) is Reason.FORBIDDEN


@pytest.mark.parametrize("port", [":", ":x", ":-1", ":4000:4000", ":4000.evil.com", ":4000@evil.com", ":123456", ": 1"])
def test_a_host_with_an_odd_port_is_refused(port: str) -> None:
    for name in LOCAL_NAMES:
        assert _reason("GET", (b"host", f"{name}{port}".encode())) is Reason.FORBIDDEN


def test_a_request_with_no_host_or_several_is_refused() -> None:
    assert _reason("GET") is Reason.FORBIDDEN
    assert _reason("POST", JSON) is Reason.FORBIDDEN
    assert _reason("GET", HOST, HOST) is Reason.FORBIDDEN
    assert _reason("GET", HOST, (b"host", b"evil.com")) is Reason.FORBIDDEN
    assert _reason("GET", (b"host", b"evil.com"), HOST) is Reason.FORBIDDEN


# --- Origin


@pytest.mark.parametrize("name", LOCAL_NAMES)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("port", ["", ":3000"])
def test_a_page_from_this_machine_passes(name: str, scheme: str, port: str) -> None:
    assert _reason("POST", HOST, JSON, (b"origin", f"{scheme}://{name}{port}".encode())) is None


@pytest.mark.parametrize("name", FOREIGN_NAMES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_page_from_anywhere_else_is_refused(name: str, scheme: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert _reason(method, HOST, JSON, (b"origin", f"{scheme}://{name}".encode())) is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"NULL",
        b"localhost",
        b"//localhost",
        b"http:localhost",
        b"http://",
        b"http://localhost/",
        b"http://localhost/path",
        b"http://localhost http://evil.com",
        b"http://evil.com http://localhost",
        b"file://",
        b"file://localhost",
        b"ftp://localhost",
        b"ws://localhost",
        b"javascript://localhost",
        b"chrome-extension://localhost",
        b"vscode-webview://localhost",
        b"httpx://localhost",
        b"xhttp://localhost",
        b"http://localhost\n",
    ],
)
def test_an_origin_that_is_no_local_web_page_is_refused(origin: bytes) -> None:
    assert _reason("POST", HOST, JSON, (b"origin", origin)) is Reason.FORBIDDEN


def test_of_several_origins_one_foreign_is_enough_to_refuse() -> None:
    local, foreign = (b"origin", b"http://localhost"), (b"origin", b"https://evil.com")
    assert _reason("POST", HOST, JSON, local, foreign) is Reason.FORBIDDEN
    assert _reason("POST", HOST, JSON, foreign, local) is Reason.FORBIDDEN


# --- Sec-Fetch-Site

ORIGIN = (b"origin", b"http://127.0.0.1:3000")


@pytest.mark.parametrize(
    ("site", "with_origin", "passes"),
    [
        (b"same-origin", False, True),
        (b"same-origin", True, True),
        (b"none", False, True),
        (b"none", True, True),
        (b"same-site", False, False),
        (b"same-site", True, True),
        (b"cross-site", False, False),
        (b"cross-site", True, False),
        (b"", True, False),
        (b"Same-Origin", True, False),
        (b"same-origin, cross-site", True, False),
        (b"null", True, False),
    ],
)
def test_what_the_browser_says_about_the_site_counts(site: bytes, with_origin: bool, passes: bool) -> None:
    origins = [ORIGIN] if with_origin else []
    assert (_reason("POST", HOST, JSON, *origins, (b"sec-fetch-site", site)) is None) == passes


def test_of_several_sites_one_foreign_is_enough_to_refuse() -> None:
    same, cross = (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")
    assert _reason("GET", HOST, same, cross) is Reason.FORBIDDEN
    assert _reason("GET", HOST, cross, same) is Reason.FORBIDDEN


# --- Content-Type


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"application/json ;charset=utf-8",
        b" application/json",
        b"application/json;",
    ],
)
def test_a_body_that_says_json_passes(content_type: bytes) -> None:
    for method in ("POST", "PUT", "PATCH"):
        assert _reason(method, HOST, (b"content-type", content_type)) is None


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"text/plain",
        b"text/plain;application/json",
        b"text/plain; charset=application/json",
        b"text/plain, application/json",
        b"application/json, text/plain",
        b"application/json,application/json",
        b"application/jsonp",
        b"application/json5",
        b"application/x-json",
        b"application/vnd.api+json",
        b"text/json",
        b"json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=application/json",
        b"application /json",
        b"application/json\0",
    ],
)
def test_a_body_that_says_anything_else_is_refused(content_type: bytes) -> None:
    for method in ("POST", "PUT", "PATCH"):
        assert _reason(method, HOST, (b"content-type", content_type)) is Reason.UNSUPPORTED_MEDIA_TYPE


def test_a_body_of_no_type_or_two_is_refused() -> None:
    assert _reason("POST", HOST) is Reason.UNSUPPORTED_MEDIA_TYPE
    assert _reason("POST", HOST, JSON, JSON) is Reason.UNSUPPORTED_MEDIA_TYPE
    assert _reason("POST", HOST, JSON, (b"content-type", b"text/plain")) is Reason.UNSUPPORTED_MEDIA_TYPE


def test_a_request_without_a_body_needs_no_type() -> None:
    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        assert _reason(method, HOST) is None


# --- what is said


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([(b"origin", b"null")], "no Host header"),
        ([HOST, HOST], "several Host headers"),
        ([(b"host", b"evil.com"), (b"origin", b"null")], "sent to evil.com, which is no name of this machine"),
        ([HOST, (b"origin", b"https://evil.com"), (b"sec-fetch-site", b"cross-site")], "(Origin: https://evil.com)"),
        ([HOST, (b"sec-fetch-site", b"cross-site")], "(Sec-Fetch-Site: cross-site)"),
    ],
)
def test_a_refusal_says_why_first_reason_first_and_what_to_do(headers: list[tuple[bytes, bytes]], why: str) -> None:
    problem = refuse("POST", headers)
    assert problem is not None
    assert (problem.reason, problem.status) == (Reason.FORBIDDEN, 403)
    assert why in problem.message
    assert "`auth: keys`" in problem.message
    assert "headgate keys create" in problem.message


def test_a_wrong_type_is_told_the_right_one() -> None:
    problem = refuse("POST", [HOST, (b"content-type", b"text/plain")])
    assert problem is not None
    assert problem.status == 415
    assert "`Content-Type: application/json` (it was text/plain)" in problem.message


def test_a_refusal_shows_no_more_than_a_short_harmless_piece_of_a_header() -> None:
    problem = refuse("GET", [(b"host", b"\x1b[31m\r\nx" + b"y" * 10_000)])
    assert problem is not None
    assert problem.message.isprintable()
    assert len(problem.message) < 600
