"""The proxy on the way to a server, by our own rules of NO_PROXY: domains, addresses and networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from orchestrator.core import UsageError, is_loopback


def find_proxy(base_url: str, configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL: the configured one or the environment's, none for loopback and what NO_PROXY names."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    proxy = configured or _variable(environ, "https_proxy", "all_proxy")
    if not proxy or is_loopback(host):
        return None
    if bypasses(host, parts.port or 443, _variable(environ, "no_proxy") or ""):
        return None
    return _check_proxy(proxy if "://" in proxy else f"http://{proxy}")


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """True if a NO_PROXY list names this host: `*`, domains with all that is below them, addresses, networks."""
    entries = (
        entry.strip().lower().lstrip("*.") if entry.strip() != "*" else "*" for entry in no_proxy.split(",")
    )
    return any(_names(entry, host.lower().rstrip("."), port) for entry in entries if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name, _, wanted = entry.partition(":")
    return (host == name or host.endswith(f".{name}")) and wanted in ("", str(port))


def _check_proxy(proxy: str) -> str:
    """The proxy as written; an error never quotes it, as it may hold a password."""
    parts = urlsplit(proxy)
    try:
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if parts.scheme not in ("http", "https") or not usable:
        raise UsageError("the proxy is not an address this program can use: write http://HOST:PORT")
    return proxy


def _variable(environ: Mapping[str, str], *names: str) -> str | None:
    """The first of these variables that is set; the lower-case spelling first, as curl and requests do."""
    spellings = (spelling for name in names for spelling in (name, name.upper()))
    return next((environ[spelling] for spelling in spellings if environ.get(spelling)), None)
