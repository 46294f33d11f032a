"""Addresses: which of them are one, which are this machine, where a secret would go unencrypted."""

from __future__ import annotations

import ipaddress

import pytest

from orchestrator.core.errors import UsageError
from orchestrator.core.urls import (
    check_base_url,
    find_address,
    host_port,
    is_loopback,
    is_unencrypted,
    normalise_url,
    split_url,
)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_has_several_spellings(host: str) -> None:
    """Names, the whole network 127.0.0.0/8, and IPv6 as a URL writes it."""
    assert is_loopback(host)
    assert not is_unencrypted("http", host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.example",
        "127.0.0.1.example",
        "127.0.0.1%a",
        "10.0.0.1",
        "::",
        "::ffff:10.0.0.1",
        "localhost..",
        "",
    ],
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    """Nothing secret goes there without TLS."""
    assert not is_loopback(host)
    assert is_unencrypted("http", host)
    assert not is_unencrypted("https", host)


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("https://API.example:443/v7/", "https://api.example/v7"),
        ("http://localhost:80", "http://localhost"),
        ("https://api.example:80/v7", "https://api.example:80/v7"),
        ("https://[::1]:443/v7", "https://[::1]/v7"),
    ],
)
def test_spellings_of_one_address_are_one(written: str, compared: str) -> None:
    """Case, the usual port and a slash at the end do not count."""
    assert normalise_url(written) == compared


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("[fd00::1]", "fd00::1"),
        ("fd00:0:0::1", "fd00::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%25eth0", "fe80::1"),
    ],
)
def test_an_address_is_one_however_it_is_written(host: str, address: str) -> None:
    """With brackets, an IPv4 address as IPv6 writes it, with a zone."""
    assert find_address(host) == ipaddress.ip_address(address)


@pytest.mark.parametrize("host", ["api.example", "10.0.0", "10.0.0.1%eth0", "", "::g"])
def test_a_name_is_no_address(host: str) -> None:
    """Nor is half of one."""
    assert find_address(host) is None


def test_a_place_is_named_as_a_url_writes_it() -> None:
    """An IPv6 address in brackets, whoever brings it."""
    places = [host_port("::1", 3128), host_port("[::1]", 3128), host_port("proxy.example", 3128)]
    assert places == ["[::1]:3128", "[::1]:3128", "proxy.example:3128"]


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://[::1",
        "https://::1]/v7",
        "https://[::g]/v7",
        "https://api.example:0",
        "https://api.example:65536",
        "https://api.example:x",
        "https://api\n.example",
        "https://api.example\n",
        "https://api.exa\tmple",
        "https://api.example /v7",
        "https://api\x00.example",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """As wrong usage, whatever Python's own splitting would have made of it, or raised."""
    assert split_url(url) is None
    with pytest.raises(UsageError):
        check_base_url(url)
