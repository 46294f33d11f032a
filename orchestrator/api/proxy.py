"""The proxy on the way to a server, by our own rules of NO_PROXY: domains, addresses and networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from orchestrator.core import UsageError, find_address, hide, is_loopback, split_url


def find_proxy(base_url: str, configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL: the configured one or the environment's, none for loopback and what NO_PROXY names."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    where, proxy = "http.proxy", (configured or "").strip()
    if not proxy:
        where, proxy = _read_variable(environ, "https_proxy", "all_proxy")
    if not proxy or is_loopback(host):
        return None
    if bypasses(host, parts.port or 443, _read_variable(environ, "no_proxy")[1]):
        return None
    return _check_proxy(proxy if "://" in proxy else f"http://{proxy}", where)


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """True if a NO_PROXY list names this host: `*`, domains with all that is below them, addresses, networks.

    Its entries stand between commas or spaces, an IPv6 address with or without brackets.
    """
    entries = no_proxy.lower().replace(",", " ").split()
    return any(_names(entry, host.lower().rstrip("."), port) for entry in entries)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, wanted = _split_entry(entry.lstrip("*."))
    if wanted not in ("", str(port)) or not name:
        return False
    address = find_address(host)
    if address is None:
        return host == name or host.endswith(f".{name}")
    if address == find_address(name):
        return True
    with suppress(ValueError):
        return address in ipaddress.ip_network(name, strict=False)
    return False


def _split_entry(entry: str) -> tuple[str, str]:
    """The name, address or network of an entry, and its port (empty without one)."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name + (rest if rest.startswith("/") else ""), rest.removeprefix(":") if rest[
            :1
        ] == ":" else ""
    name, _, wanted = entry.partition(":")
    return (entry, "") if ":" in wanted else (name, wanted)  # an IPv6 address without brackets has no port


def _check_proxy(proxy: str, where: str) -> str:
    """The proxy as written; an error never quotes it, as it may hold a password."""
    parts = split_url(proxy)
    try:
        parse_url(proxy)  # what the connection is made by
    except LocationParseError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https"):
        raise UsageError(
            f"the proxy in {where} is not an address this program can use: write http://HOST:PORT or"
            " http://NAME:PASSWORD@HOST:PORT, an IPv6 address in brackets, and in the name and password %40"
            " for @, %2F for /, %3A for :, %23 for #, %3F for ?"
        )
    for secret in {parts.password or "", unquote(parts.password or "")}:
        hide(secret)
    return proxy


def _read_variable(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of these variables that says something, and its text without white space around it.

    The lower-case spelling first, as curl and requests do.
    """
    spellings = (spelling for name in names for spelling in (name, name.upper()))
    read = ((spelling, environ.get(spelling, "").strip()) for spelling in spellings)
    return next(((spelling, text) for spelling, text in read if text), ("", ""))
