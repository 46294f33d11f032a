"""Addresses: which of them are one, which are this machine itself, and where a secret would go unencrypted."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

from orchestrator.core.errors import UsageError

USUAL_PORTS = {"https": 443, "http": 80}
"""Ports that need not be written."""

_LOOPBACK_NAME = "localhost"


def normalise_url(base_url: str) -> str:
    """An address in the one spelling by which it is compared."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, USUAL_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """True if this host, with or without the brackets of a URL, is the machine itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host.lower().removesuffix(".") == _LOOPBACK_NAME


def is_unencrypted(scheme: str, host: str) -> bool:
    """True if what is sent there could be read on the way: http is for loopback alone."""
    return scheme == "http" and not is_loopback(host)


def check_base_url(base_url: str) -> str:
    """The base URL as written; UsageError unless it is https, or http to loopback, and nothing but an address."""
    parts = urlsplit(base_url)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError("base_url: its port is not a number between 0 and 65535") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "base_url holds a name, a password, a query or a fragment: write https://HOST/v7 alone"
        )
    if not host or parts.scheme not in ("https", "http"):
        raise UsageError(f"base_url {base_url!r} is not an address: write https://HOST/v7")
    if is_unencrypted(parts.scheme, host):
        raise UsageError(f"base_url {base_url!r} would send the API token unencrypted: write https://")
    return base_url
