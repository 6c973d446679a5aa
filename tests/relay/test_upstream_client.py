"""The HTTP client towards providers by itself: pools, addresses, proxies, TLS, limits, and how it lets go."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headgate import clock
from headgate.errors import ConnectFailed, UpstreamBroken, UpstreamFault, UpstreamTimeout
from headgate.relay.upstream import client as client_module
from headgate.relay.upstream import dial
from headgate.relay.upstream.client import UpstreamClient, endpoint
from headgate.relay.upstream.connection import HIGH_WATER, Connection
from headgate.relay.upstream.dial import Origin, origin_of
from headgate.testing import Answer, ScriptedUpstream, Stream, Turn, faults
from headgate.testing import vendor_openai as openai

WITHIN_S = 5.0
LIMIT = 1 << 20
ANSWER = openai.chat_answer(Turn("Hello."))
PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def up() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream
    assert upstream.malformed == []


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient()
    yield client
    client.close()


async def get(client: UpstreamClient, url: str) -> tuple[int, bytes]:
    return await client.get(endpoint("GET", url, []), WITHIN_S, LIMIT)


async def ask(client: UpstreamClient, up: ScriptedUpstream) -> tuple[int, bytes]:
    return await get(client, f"{up.base_url}/models")


async def sent(client: UpstreamClient, up: ScriptedUpstream) -> Connection:
    """A connection on which a request was sent."""
    to = endpoint("GET", f"{up.base_url}/models", [])
    connection = await client.connect(to, WITHIN_S)
    connection.send(to.head + b"\r\n")
    return connection


def until() -> float:
    return clock.monotonic_s() + WITHIN_S


# Pools


async def test_a_connection_is_used_again_after_a_whole_answer(client, up):
    for _ in range(5):
        assert (await ask(client, up))[0] == 200
    assert (up.accepted, [request.nth for request in up.requests]) == (1, [0, 1, 2, 3, 4])


async def test_requests_at_the_same_time_have_connections_of_their_own(client, up):
    assert {status for status, _ in await asyncio.gather(*(ask(client, up) for _ in range(10)))} == {200}
    assert up.accepted == 10
    await asyncio.gather(*(ask(client, up) for _ in range(10)))
    assert up.accepted == 10


async def test_origins_do_not_share_connections(client, up):
    async with ScriptedUpstream() as other:
        for upstream in (up, other, up, other):
            await ask(client, upstream)
        assert (up.accepted, other.accepted) == (1, 1)
        client.close()


@pytest.mark.parametrize(
    "reply",
    [faults.connection_close(ANSWER), Stream(ANSWER.payload() and [ANSWER.payload()], framing="close")],
    ids=["connection: close", "ended by its end"],
)
async def test_a_connection_that_cannot_be_kept_is_closed(client, up, reply):
    up.then(reply)
    assert await ask(client, up) == (200, ANSWER.payload())
    await up.idle()
    await ask(client, up)
    assert up.accepted == 2


async def test_a_kept_connection_that_the_server_closed_is_not_used(client, up):
    await ask(client, up)
    up.close_idle()
    await up.idle()
    assert (await ask(client, up))[0] == 200
    assert (up.accepted, len(up.requests)) == (2, 2)


async def test_a_kept_connection_that_was_closed_is_seen_before_the_event_loop_has(client, up):
    """The socket itself is looked at: here its end has arrived, but no callback has run."""
    to = endpoint("GET", f"{up.base_url}/models", [])
    await ask(client, up)
    kept = await client.connect(to, WITHIN_S)
    assert kept.is_usable()
    [connection] = up._connections
    connection.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
    assert not kept.is_usable()
    kept.close()


@pytest.mark.parametrize("junk", [b"x", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", b"\x15\x03\x03"])
async def test_a_kept_connection_on_which_something_came_is_not_used(client, up, junk):
    await ask(client, up)
    await up.over(up.requests[0])
    [connection] = up._connections
    connection.write(junk)
    assert (await ask(client, up))[0] == 200
    assert up.accepted == 2


@pytest.mark.parametrize("size", [1, 60])
async def test_what_follows_an_answer_is_no_part_of_the_next(client, up, size):
    up.then(faults.then_junk(ANSWER, b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'[:size]))  # fmt: skip
    assert await ask(client, up) == (200, ANSWER.payload())
    status, body = await ask(client, up)
    assert status == 200 and b"gpt-4o-mini" in body
    assert up.accepted == 2


async def test_no_more_than_so_many_idle_connections_are_kept(client, up, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_IDLE", 3)
    await asyncio.gather(*(ask(client, up) for _ in range(8)))
    await up.idle(3)
    assert up.open_connections == 3


async def test_idle_connections_are_closed_after_a_while(up, monkeypatch):
    monkeypatch.setattr(client_module, "IDLE_S", 0.1)
    client = UpstreamClient()
    await ask(client, up)
    await asyncio.wait_for(up.idle(), WITHIN_S)


async def test_after_close_nothing_is_kept(client, up):
    connection = await sent(client, up)
    client.close()
    await connection.head("response", WITHIN_S, until())
    await connection.body(LIMIT, "response", WITHIN_S, until())
    connection.release()
    await asyncio.wait_for(up.idle(), WITHIN_S)


async def test_a_connection_with_an_unfinished_answer_is_closed_when_released(client, up):
    up.then(faults.stall(Stream([b"one", b"two"]), 1))
    connection = await sent(client, up)
    await connection.head("response", WITHIN_S, until())
    assert await connection.chunk("idle", WITHIN_S, until()) == b"one"
    connection.release()
    await asyncio.wait_for(up.over(up.requests[0]), WITHIN_S)
    assert up.requests[0].aborted


async def test_a_task_that_is_cancelled_lets_its_connection_go_at_once(client, up):
    up.then(faults.say_nothing())
    task = asyncio.create_task(ask(client, up))
    request = await up.received()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(up.over(request), WITHIN_S)
    assert request.aborted


async def test_a_task_that_is_cancelled_while_it_connects_leaves_no_socket(client):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        to = endpoint("GET", f"https://127.0.0.1:{server.getsockname()[1]}/", [])
        task = asyncio.create_task(client.connect(to, WITHIN_S))
        accepted = await asyncio.to_thread(server.accept)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with accepted[0] as peer:
            peer.settimeout(WITHIN_S)
            while await asyncio.to_thread(peer.recv, 4096):
                pass  # what was sent of the handshake, and then the end


# Answers


@pytest.mark.parametrize(
    "reply",
    [
        faults.drip(ANSWER),
        faults.interim(ANSWER),
        faults.interim(ANSWER, status=103, count=20),
        Stream([ANSWER.payload()[:9], ANSWER.payload()[9:]]),
        replace(ANSWER, headers=tuple((f"x-{n}", "1") for n in range(150))),
    ],
    ids=["drip", "100", "103", "chunks", "150 headers"],
)
async def test_all_that_http_allows_is_read(client, up, reply):
    up.then(reply)
    assert await ask(client, up) == (200, ANSWER.payload())
    assert (await ask(client, up))[0] == 200
    assert up.accepted == 1


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BROKEN = {
    "a head without end": (faults.endless_header(), "65536 bytes of headers"),
    "many headers": (faults.many_headers(ANSWER), "200 headers"),
    "a large header": (faults.huge_header(ANSWER), "headers"),
    "no HTTP": (faults.garbage(), "not HTTP"),
    "nothing": (faults.close_before_answer(), "without an answer"),
    "a reset": (faults.reset(), "without an answer"),
    "a cut body": (faults.truncated(ANSWER), "in the middle"),
    "a cut chunk": (faults.chunked_cut_off(ANSWER), "in the middle"),
    "a chunk size that is none": (faults.bad_chunk_size(Stream([b"a", b"b"])), "not HTTP"),
    "endless interim answers": (faults.interim(ANSWER, status=103, count=5000), "bytes of headers"),
    "endless chunk extensions": (
        faults.Raw((CHUNKED + b"1;" + b"x" * (1 << 20), faults.Wait.forever())),
        "framing",
    ),
    "endless trailers": (
        faults.Raw((CHUNKED + b"0\r\n" + b"x: y\r\n" * 100_000,)),
        "headers",
    ),
    "an upgrade": (faults.Raw((b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",)), "protocols"),
    "too large a body": (Answer(body=b"x" * (40 * LIMIT)), "more than 1048576 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_is_an_error_and_its_connection_is_closed(client, up, name):
    reply, says = BROKEN[name]
    up.then(reply)
    with pytest.raises(UpstreamBroken, match=says):
        await asyncio.wait_for(ask(client, up), WITHIN_S)
    await asyncio.wait_for(up.idle(), WITHIN_S)
    assert (await ask(client, up))[0] == 200


async def test_a_body_that_nobody_asks_for_is_left_with_the_server(client, up):
    up.then(Stream([b"x" * 65536] * 2000))
    connection = await sent(client, up)
    await connection.head("response", WITHIN_S, until())
    request = up.requests[0]
    before = -1
    while request.sent_bytes != before:  # until the kernel's buffers are full
        before = request.sent_bytes
        await asyncio.sleep(0.1)
    assert request.finished_s is None and request.sent_bytes < 32 << 20
    assert connection._buffered < HIGH_WATER + (1 << 20)
    size = 0
    while piece := await connection.chunk("idle", WITHIN_S, until()):
        size += len(piece)
    assert size == 2000 * 65536
    connection.release()


@pytest.mark.parametrize("phase", ["response", "first_token", "idle"])
async def test_a_wait_that_runs_out_names_its_setting(client, up, phase):
    up.then(faults.say_nothing())
    connection = await sent(client, up)
    with pytest.raises(UpstreamTimeout, match=rf"within 0.1 s \(timeouts.{phase}_s\)") as caught:
        await connection.head(phase, 0.1, until())
    assert caught.value.sent
    connection.release()
    await asyncio.wait_for(up.idle(), WITHIN_S)


async def test_the_deadline_of_the_request_goes_before_a_later_one(client, up):
    up.then(faults.say_nothing())
    connection = await sent(client, up)
    with pytest.raises(UpstreamTimeout) as caught:
        await connection.head("response", WITHIN_S, clock.monotonic_s() + 0.1)
    assert caught.value.phase == "total"
    connection.release()


async def test_what_came_before_a_break_is_read_first(client, up):
    up.then(faults.cut(Stream([b"one", b"two", b"three"]), 2))
    connection = await sent(client, up)
    await connection.head("response", WITHIN_S, until())
    got = b""
    with pytest.raises(UpstreamBroken):
        while piece := await connection.chunk("idle", WITHIN_S, until()):
            got += piece
    assert got == b"onetwo"
    connection.release()


# Addresses


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Names that end in `.test` are these addresses; `getaddrinfo` gives the first family first."""
    real = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        if not host.endswith(".test"):
            return await real(host, port, **options)
        found = []
        for address, at in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            name = (address, at, 0, 0) if ":" in address else (address, at)
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", name))
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 that neither answers nor refuses."""
    with contextlib.closing(socket.socket()) as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            one = waiting.enter_context(contextlib.closing(socket.socket()))
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()[1]


async def test_an_address_that_refuses_is_followed_by_the_next(client, up, monkeypatch):
    with contextlib.closing(socket.socket()) as refusing:
        refusing.bind(("127.0.0.1", 0))
        resolve_to(monkeypatch, ("::1", 9), ("127.0.0.1", refusing.getsockname()[1]), ("127.0.0.1", up.port))
        assert (await get(client, f"http://provider.test:{up.port}/v1/models"))[0] == 200
    assert up.requests[0].header("host") == f"provider.test:{up.port}"


async def test_an_address_that_does_not_answer_costs_a_moment(client, up, monkeypatch, silent_port):
    resolve_to(monkeypatch, ("127.0.0.1", silent_port), ("127.0.0.1", up.port))
    began = clock.monotonic_s()
    assert (await get(client, f"http://provider.test:{up.port}/v1/models"))[0] == 200
    assert 0.2 < clock.monotonic_s() - began < WITHIN_S


async def test_families_are_tried_in_turn(client, up, monkeypatch, silent_port):
    """Two dead addresses of one family do not keep the other waiting for both."""
    resolve_to(monkeypatch, ("::1", 9), ("::1", 9), ("::1", 9), ("127.0.0.1", up.port))
    assert (await get(client, f"http://provider.test:{up.port}/v1/models"))[0] == 200


async def test_when_no_address_answers_the_first_reason_is_told(client, monkeypatch):
    with contextlib.closing(socket.socket()) as refusing:
        refusing.bind(("127.0.0.1", 0))
        port = refusing.getsockname()[1]
        resolve_to(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", port))
        with pytest.raises(
            ConnectFailed, match=f"cannot connect to provider.test:{port}: connection refused"
        ) as caught:
            await get(client, f"http://provider.test:{port}/")
    assert not caught.value.sent


async def test_a_name_that_nobody_knows_is_a_clear_error(client):
    with pytest.raises(ConnectFailed, match=r"cannot find the host nowhere\.invalid"):
        await get(client, "http://nowhere.invalid/")


async def test_connecting_has_its_timeout(client, silent_port):
    to = endpoint("GET", f"http://127.0.0.1:{silent_port}/", [])
    with pytest.raises(UpstreamTimeout, match=r"no connection within 0.1 s \(timeouts.connect_s\)") as caught:
        await client.connect(to, 0.1)
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://host/v1", Origin("http", "host", 80), "host"),
        ("https://host/v1", Origin("https", "host", 443), "host"),
        ("https://host:8443", Origin("https", "host", 8443), "host:8443"),
        ("http://[::1]:8080/v1", Origin("http", "::1", 8080), "[::1]:8080"),
        ("https://[fe80::1]/", Origin("https", "fe80::1", 443), "[fe80::1]"),
    ],
)
def test_an_origin_is_written_as_in_a_host_header(url, origin, authority):
    assert (origin_of(url), origin_of(url).authority) == (origin, authority)


async def test_ipv6_is_spoken(client):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    heads: list[bytes] = []
    try:
        server = await asyncio.start_server(answer, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await get(client, f"http://[::1]:{port}/x") == (200, b"ok")
        assert f"host: [::1]:{port}".encode() in heads[0]
        client.close()


# Proxies


class Proxy:
    """A proxy for both ways: absolute URLs, and tunnels. seen: each request's first line and headers. refuse: the
    status that every CONNECT gets. to: where everything is led, whatever was asked for."""

    def __init__(self, to: int, refuse: int | None = None) -> None:
        self.seen: list[bytes] = []
        self._to = to
        self._refuse = refuse
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.seen.append(head)
        if self._refuse is not None:
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % self._refuse)
            writer.close()
            return
        on_reader, on_writer = await asyncio.open_connection("127.0.0.1", self._to)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\nx-proxy: 1\r\n\r\n")
        else:
            method, url, rest = head.split(b" ", 2)
            on_writer.write(method + b" /" + url.split(b"/", 3)[3] + b" " + rest)
        for source, sink in ((reader, on_writer), (on_reader, writer)):
            task = asyncio.create_task(self._copy(source, sink))
            self._tasks.add(task)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()


async def test_http_goes_through_the_proxy_of_the_environment(client, up, monkeypatch):
    async with Proxy(up.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:s%40cret@127.0.0.1:{proxy.port}")
        assert (await get(client, "http://provider.test/v1/models"))[0] == 200
        [head] = proxy.seen
        assert head.startswith(b"GET http://provider.test/v1/models HTTP/1.1\r\nhost: provider.test\r\n")
        assert b"proxy-authorization: Basic " + base64.b64encode(b"me:s@cret") in head
        client.close()
    assert up.requests[0].path == "/v1/models"


@pytest.mark.parametrize("excepted", ["127.0.0.1", "*", "example.com,127.0.0.1", "127.0.0.1:{port}"])
async def test_hosts_that_are_excepted_are_asked_directly(client, up, monkeypatch, excepted):
    async with Proxy(up.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", excepted.format(port=up.port))
        assert (await ask(client, up))[0] == 200
        assert proxy.seen == []


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_https_goes_through_a_tunnel(monkeypatch, certificates, variable):
    async with tls_server(certificates) as port, Proxy(port) as proxy:
        monkeypatch.setenv(variable, f"127.0.0.1:{proxy.port}")
        monkeypatch.setattr(dial, "_is_loopback", lambda host: False)
        client = UpstreamClient(tls=certificates.trusting())
        assert await get(client, "https://localhost:8443/x") == (200, b"ok")
        assert await get(client, "https://localhost:8443/x") == (200, b"ok")
        [head] = proxy.seen
        assert head == b"CONNECT localhost:8443 HTTP/1.1\r\nhost: localhost:8443\r\n\r\n"
        client.close()


async def test_a_proxy_that_refuses_is_named_with_its_status(client, monkeypatch):
    async with Proxy(0, refuse=407) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectFailed, match=rf"127.0.0.1:{proxy.port} refused a tunnel to provider.test \(407\)"):
            await get(client, "https://provider.test/")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_named_and_not_the_provider(client, monkeypatch, scheme):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConnectFailed, match=r"cannot connect to the proxy 127\.0\.0\.1:9: connection refused"):
        await get(client, f"{scheme}://provider.test/")


async def test_a_proxy_that_closes_is_named(client, monkeypatch):
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(UpstreamFault, match=r"proxy|reset"):
            await get(client, "https://provider.test/")


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:port"])
async def test_a_proxy_of_another_kind_is_a_clear_error(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConnectFailed, match="the proxy in the environment"):
        endpoint("GET", "https://provider.test/", [])


# TLS


class Certificates:
    """Made for the occasion with the `openssl` command: an authority, and what it signed for `localhost`."""

    def __init__(self, at: Path) -> None:
        self.authority, self.chain, self.key = at / "ca.pem", at / "server.pem", at / "server.key"
        names = at / "names"
        names.write_text("subjectAltName=DNS:localhost")
        new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj")
        _run(*new, "/CN=authority", "-x509", "-days", "2", "-keyout", f"{at}/ca.key", "-out", f"{self.authority}")
        _run(*new, "/CN=localhost", "-keyout", f"{self.key}", "-out", f"{at}/server.csr")
        _run(
            *("openssl", "x509", "-req", "-in", f"{at}/server.csr", "-CA", f"{self.authority}"),
            *(
                "-CAkey",
                f"{at}/ca.key",
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                f"{names}",
                "-out",
                f"{self.chain}",
            ),
        )

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def serving(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make certificates with")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.asynccontextmanager
async def tls_server(certificates: Certificates) -> AsyncIterator[int]:
    """Answers `ok` to every request; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificates.serving()) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_certificate_of_a_trusted_authority_is_accepted_and_its_connection_kept(certificates):
    async with tls_server(certificates) as port:
        client = UpstreamClient(tls=certificates.trusting())
        to = endpoint("GET", f"https://localhost:{port}/", [])
        for _ in range(3):
            assert await client.get(to, WITHIN_S, LIMIT) == (200, b"ok")
        first = await client.connect(to, WITHIN_S)
        assert first.idle_since > 0, "it is the one that was kept"
        first.close()
        client.close()


@pytest.mark.parametrize(
    ("host", "trusts", "says"),
    [
        ("localhost", lambda c: ssl.create_default_context(), "certificate was not accepted"),
        ("localhost", lambda c: None, "certificate was not accepted"),
        ("127.0.0.1", Certificates.trusting, "certificate was not accepted.*127.0.0.1"),
    ],
    ids=["an unknown authority", "the system's authorities", "another name"],
)
async def test_a_certificate_that_does_not_verify_is_a_clear_error(
    certificates: Certificates, host: str, trusts: Callable[[Certificates], ssl.SSLContext | None], says: str
):
    async with tls_server(certificates) as port:
        client = UpstreamClient(tls=trusts(certificates))
        with pytest.raises(ConnectFailed, match=says) as caught:
            await get(client, f"https://{host}:{port}/")
        assert not caught.value.sent
        client.close()


async def test_a_server_that_does_not_speak_tls_is_a_clear_error(client):
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="TLS failed"):
            await get(client, f"https://127.0.0.1:{port}/")
