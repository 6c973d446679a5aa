"""Addresses as people write them: hosts to listen on, and base URLs of providers. No I/O, no name is looked up."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

#: What people copy from a curl line; the gateway adds these itself.
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/messages")


def normal_host(written: str) -> str | None:
    """A host to listen on without the brackets of IPv6; None where it cannot be one."""
    host = written[1:-1] if written.startswith("[") and written.endswith("]") else written
    with suppress(ValueError):
        ip_address(host)
        return host
    labels = host.removesuffix(".").split(".")
    fits = all(label and label.isascii() and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    return host if fits and len(host) <= 253 else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than `localhost` may be anything, so it is not."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def origin_host(base_url: str) -> str:
    """The host of a base URL, in lower case."""
    return (urlsplit(base_url).hostname or "").removesuffix(".")


def normal_base_url(written: str) -> tuple[str, str, str]:
    """A provider's base URL without a trailing slash, with `/v1` where it has no path.

    Returns (url, "", "") or ("", problem, fix). The texts do not hold what was written: it can hold a password.
    """
    if not all("!" <= character <= "~" for character in written) or "\\" in written:
        return "", "holds a space or another character that no URL has", "Write it as in https://host/v1."
    try:
        parts = urlsplit(written)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", "is not a URL: its host or port cannot be read", "Write it as in https://host:8000/v1."
    if parts.scheme not in ("http", "https"):
        return "", "does not start with http:// or https://", "Write it as in https://host/v1."
    if "@" in parts.netloc:
        return "", "holds a user or a password", "Take them out, and put the key in api_key."
    if ":" not in host and not all(0 < len(label) < 64 for label in host.rstrip(".").split(".")):
        return "", "has a host that no name of a machine can be", "Write it as in https://host/v1."
    if not host or port == 0:
        return "", "has no host, or port 0", "Write it as in https://host:8000/v1."
    if "?" in written or "#" in written:
        return "", "holds a query or a fragment", "End it with its path, as in https://host/v1."
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            return "", f"ends in {endpoint}, which headgate adds itself", "Stop before it, as in https://host/v1."
    return f"{parts.scheme}://{parts.netloc.lower()}{path or '/v1'}", "", ""
