"""From an origin to an open connection: names, addresses of both families, proxies from the environment, TLS.

Addresses are tried one after another, a quarter of a second apart, families in turn, and the first that answers wins
(RFC 8305, "happy eyeballs", in its simple form), so a host whose IPv6 leads nowhere costs a moment and not a timeout.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from headgate.errors import ConnectFailed, UpstreamTimeout

if TYPE_CHECKING:
    from headgate.relay.upstream.connection import Connection

#: RFC 8305 section 5 recommends 250 ms between attempts.
_STAGGER_S = 0.25
_MAX_PROXY_ANSWER = 16 * 1024


class Origin(NamedTuple):
    """scheme: http or https. host: without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As in a Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin:
    """The origin of a base URL that the configuration has already checked."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return Origin(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. authorization: the value of its header, or None."""

    host: str
    port: int
    authorization: bytes | None = None


def proxy_for(origin: Origin) -> Proxy | None:
    """The proxy that the environment names for this origin (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY).
    Raises ConnectFailed for one that is not an http:// URL."""
    if _is_loopback(origin.host):
        return None  # what goes to this machine itself is nobody else's to see, whatever NO_PROXY forgets to say
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    proxies = getproxies_environment()
    url = proxies.get(origin.scheme) or proxies.get("all")
    if not url or proxy_bypass_environment(f"{origin.host}:{origin.port}", proxies):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port or 80
    except ValueError:
        raise ConnectFailed("the proxy in the environment has a port that is no number") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ConnectFailed(f"the proxy in the environment must be an http:// URL, not {parts.scheme}://")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = b"Basic " + base64.b64encode(pair)
    return Proxy(parts.hostname, port, authorization)


def _is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


_tls: ssl.SSLContext | None = None


def tls_context() -> ssl.SSLContext:
    """Verifies certificates and host names; made on first use, since reading the system's roots takes a while."""
    global _tls  # noqa: PLW0603 - one for the process
    if _tls is None:
        _tls = ssl.create_default_context()
        _tls.set_alpn_protocols(["http/1.1"])
    return _tls


async def dial(
    origin: Origin, proxy: Proxy | None, make: Callable[[], Connection], timeout_s: float, tls: ssl.SSLContext | None
) -> Connection:
    """An open connection, through the proxy where there is one. Raises ConnectFailed and UpstreamTimeout; either way
    nothing of a request was sent. tls: the context for https, or None for the process's own."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _dial(origin, proxy, make, tls)
    except TimeoutError:
        raise UpstreamTimeout("connect", timeout_s, sent=False) from None
    except ssl.SSLCertVerificationError as error:
        raise ConnectFailed(f"{origin.host}: its certificate was not accepted: {error.verify_message}") from None
    except (OSError, ssl.SSLError) as error:
        raise ConnectFailed(f"cannot connect to {origin.authority}: {_reason(error)}") from None


async def _dial(
    origin: Origin, proxy: Proxy | None, make: Callable[[], Connection], tls: ssl.SSLContext | None
) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        sock = await _connect(proxy.host if proxy else origin.host, proxy.port if proxy else origin.port)
    except OSError as error:
        place = f"the proxy {proxy.host}:{proxy.port}" if proxy else origin.authority
        raise ConnectFailed(f"cannot connect to {place}: {_reason(error)}") from None
    try:
        if origin.scheme == "http":
            _, connection = await loop.create_connection(make, sock=sock)
            return connection
        if proxy is not None:
            await _tunnel(sock, origin, proxy)
        context = tls or tls_context()
        _, connection = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=origin.host)
        return connection
    except BaseException:
        sock.close()
        raise


async def _connect(host: str, port: int) -> socket.socket:
    """The first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise ConnectFailed(f"cannot find the host {host}: it is no name of a host") from None
    except OSError as error:
        raise ConnectFailed(f"cannot find the host {host}: {error.strerror or error}") from None
    by_family = [[i for i in infos if (i[0] == socket.AF_INET6) == six] for six in (True, False)]
    in_turn = [info for info in chain.from_iterable(zip_longest(*by_family)) if info is not None]
    attempts: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while True:
            if in_turn:
                family, kind, proto, _, address = in_turn.pop(0)
                attempts.add(asyncio.ensure_future(_connect_one(family, kind, proto, address)))
            elif not attempts:
                raise errors[0] if errors else OSError(f"no address for {host}")
            done, attempts = await asyncio.wait(
                attempts, timeout=_STAGGER_S if in_turn else None, return_when=asyncio.FIRST_COMPLETED
            )
            won = [task for task in done if task.exception() is None]
            errors += [failed for task in done if isinstance(failed := task.exception(), OSError)]
            if won:
                for task in won[1:]:
                    task.result().close()
                return won[0].result()
    finally:
        for task in attempts:
            task.add_done_callback(_close_late)
            task.cancel()


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect_one(family: int, kind: int, proto: int, address: object) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock


async def _tunnel(sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Asks the proxy for a tunnel (CONNECT). Raises ConnectFailed with the proxy's own status."""
    loop = asyncio.get_running_loop()
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    authority = f"{host}:{origin.port}".encode()
    lines = [b"CONNECT " + authority + b" HTTP/1.1", b"host: " + authority]
    if proxy.authorization is not None:
        lines.append(b"proxy-authorization: " + proxy.authorization)
    await loop.sock_sendall(sock, b"\r\n".join(lines) + b"\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        # Nothing can follow this head unasked: in TLS it is the client who speaks first.
        piece = await loop.sock_recv(sock, 4096)
        answer += piece
        if not piece or len(answer) > _MAX_PROXY_ANSWER:
            raise ConnectFailed(f"the proxy {proxy.host}:{proxy.port} closed the connection")
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)[1:2]
    if status != [b"200"]:
        code = status[0].decode("latin-1") if status else "no status"
        raise ConnectFailed(f"the proxy {proxy.host}:{proxy.port} refused a tunnel to {origin.authority} ({code})")


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    # asyncio puts the address into `strerror`; what is wanted is the system's own word, such as "connection refused".
    said = os.strerror(error.errno) if error.errno else error.strerror or str(error) or type(error).__name__
    return said.lower()
