"""Addresses: which of them are one, which are this machine itself, and where a secret would go unencrypted."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from orchestrator.core.errors import UsageError

USUAL_PORTS = {"https": 443, "http": 80}
"""Ports that need not be written."""

_LOOPBACK_NAME = "localhost"

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def split_url(url: str) -> SplitResult | None:
    """The parts of an address that has a host, and a port that exists or none; None for anything else.

    Nothing is dropped on the way: `urlsplit` alone passes over line breaks and tabs.
    """
    if any(char.isspace() or not char.isprintable() for char in url):
        return None
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number, a bracket without its other half, or no address within
        return None
    return parts if usable else None


def find_address(host: str) -> IpAddress | None:
    """The address that a host is, with or without the brackets of a URL; None for a name.

    An IPv4 address as IPv6 writes it is that address, and a zone (`%eth0`, in a URL `%25eth0`) is no part of it.
    """
    with suppress(ValueError):
        address = ipaddress.ip_address(host.strip("[]"))
        if isinstance(address, ipaddress.IPv6Address):
            return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
        return address
    return None


def host_port(host: str, port: int | None) -> str:
    """Where a connection goes, as a sentence names it: `proxy.example:3128`, `[::1]:3128`."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def normalise_url(base_url: str) -> str:
    """An address in the one spelling by which it is compared."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, USUAL_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """True if this host, with or without the brackets of a URL, is the machine itself."""
    address = find_address(host)
    return host.lower().removesuffix(".") == _LOOPBACK_NAME if address is None else address.is_loopback


def is_unencrypted(scheme: str, host: str) -> bool:
    """True if what is sent there could be read on the way: http is for loopback alone."""
    return scheme == "http" and not is_loopback(host)


def check_base_url(base_url: str) -> str:
    """The base URL as written; UsageError unless it is https, or http to loopback, and nothing but an address."""
    parts = split_url(base_url)
    if parts is None or parts.scheme not in ("https", "http"):
        raise UsageError(
            "base_url is not an address with a host and, if any, a port between 1 and 65535: write https://HOST/v7"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "base_url holds a name, a password, a query or a fragment: write https://HOST/v7 alone"
        )
    if is_unencrypted(parts.scheme, parts.hostname or ""):
        raise UsageError(f"base_url {base_url!r} would send the API token unencrypted: write https://")
    return base_url
