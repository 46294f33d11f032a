"""The proxy on the way to the API, and the hosts that have none."""

from __future__ import annotations

import pytest

from orchestrator.api.proxy import bypasses, find_proxy
from orchestrator.core.errors import UsageError

API = "https://api.thousandeyes.com/v7"


@pytest.mark.parametrize(
    ("configured", "environ", "proxy"),
    [
        (None, {}, None),
        ("http://p:1", {}, "http://p:1"),
        ("p:1", {}, "http://p:1"),
        ("http://p:1", {"HTTPS_PROXY": "http://q:2"}, "http://p:1"),
        (None, {"HTTPS_PROXY": "http://q:2", "ALL_PROXY": "http://r:3"}, "http://q:2"),
        (None, {"https_proxy": "http://q:2"}, "http://q:2"),
        (None, {"ALL_PROXY": "https://r:3"}, "https://r:3"),
        (None, {"HTTP_PROXY": "http://q:2"}, None),
        (None, {"HTTPS_PROXY": "", "ALL_PROXY": "http://r:3"}, "http://r:3"),
        ("http://p:1", {"NO_PROXY": "thousandeyes.com"}, None),
        (None, {"HTTPS_PROXY": "http://q:2", "no_proxy": "*"}, None),
        (None, {"https_proxy": " http://q:2\r\n"}, "http://q:2"),
        (None, {"https_proxy": " \n", "HTTPS_PROXY": "http://q:2"}, "http://q:2"),
        ("http://[::1]:3128", {}, "http://[::1]:3128"),
        (None, {"https_proxy": "[fd00::1]:3128"}, "http://[fd00::1]:3128"),
        (None, {"https_proxy": "http://[fe80::1%25eth0]:3128"}, "http://[fe80::1%25eth0]:3128"),
        (None, {"https_proxy": "http://me:p%40ss@[::1]:3128"}, "http://me:p%40ss@[::1]:3128"),
    ],
)
def test_a_proxy_is_found(configured: str | None, environ: dict[str, str], proxy: str | None) -> None:
    """The configured one before the environment's; none for what NO_PROXY names."""
    assert find_proxy(API, configured, environ) == proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_has_no_proxy(host: str) -> None:
    """Whatever is configured."""
    assert find_proxy(f"https://{host}:1/v7", "http://p:1", {"ALL_PROXY": "http://q:2"}) is None


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://me:secret1@p:1",
        "http://me:secret1@:1",
        "http://p:secret1",
        "ftp://secret1",
        "http://me:secret1@p:99999",
        "http://me:secret1@p\n:1",
        "http://me:secret1@p:1\nhttp://q:2",
        "http://me:secret1\t@p:1",
        "http://me:secret1 @p:1",
        "http://me:secret1/x@p:1",
        "http://me:secret1#x@p:1",
        "http://me:secret1?x@p:1",
        "http://me:secret1@[::1",
        "http://me:secret1@[::1]x:1",
        "http://me:secret1@::1:1",
        "http://me:secret1@[::g]:1",
    ],
)
def test_an_unusable_proxy_is_refused_without_quoting_it(proxy: str) -> None:
    """It may hold a password."""
    with pytest.raises(UsageError) as caught:
        find_proxy(API, proxy, {})
    assert "secret1" not in str(caught.value)
    assert "the proxy in http.proxy is not an address" in str(caught.value)
    with pytest.raises(UsageError, match="the proxy in HTTPS_PROXY"):
        find_proxy(API, None, {"HTTPS_PROXY": proxy})


@pytest.mark.parametrize(
    ("no_proxy", "host", "named"),
    [
        ("", "a.example", False),
        ("*", "a.example", True),
        ("example", "a.example", True),
        (".example", "a.example", True),
        ("*.example", "a.example", True),
        ("A.Example", "a.example", True),
        ("b.example, a.example", "a.example", True),
        ("ample", "a.example", False),
        ("a.example:443", "a.example", True),
        ("a.example:80", "a.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "a.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::]/8", "fd00::1", True),
        ("fd00::1", "fd00::1", True),
        ("[fd00::1]", "fd00::1", True),
        ("[FD00:0::1]:443", "fd00::1", True),
        ("[fd00::1]:80", "fd00::1", False),
        ("fd00::1", "fd00::2", False),
        ("::ffff:10.1.2.3", "10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("fe80::/10", "fe80::1%25eth0", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("10.0.0.0/8:443", "10.1.2.3", True),
        ("b.example a.example", "a.example", True),
        ("[", "a.example", False),
        ("[]", "fd00::1", False),
        (":", "a.example", False),
        (",,", "a.example", False),
    ],
)
def test_no_proxy_names_hosts(no_proxy: str, host: str, named: bool) -> None:
    """Domains with all that is below them, addresses, networks, ports."""
    assert bypasses(host, 443, no_proxy) is named
