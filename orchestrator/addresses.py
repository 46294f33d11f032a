"""Addresses: which of them are one, which are this machine itself, and where a secret would go unencrypted."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

USUAL_PORTS = {"https": 443, "http": 80}
"""Ports that need not be written."""

_LOOPBACK_NAME = "localhost"


def normalised(base_url: str) -> str:
    """An address in the one spelling by which it is compared."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, USUAL_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether this host, with or without the brackets of a URL, is the machine itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host.lower().removesuffix(".") == _LOOPBACK_NAME


def unencrypted(scheme: str, host: str) -> bool:
    """Whether what is sent there could be read on the way: http is for loopback alone."""
    return scheme == "http" and not is_loopback(host)
