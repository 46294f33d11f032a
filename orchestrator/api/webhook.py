"""One message to one webhook: sent once, within its time, and nobody follows where it points to.

The address of a webhook is a secret like a password: no error has more of it than the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from ssl import SSLContext, SSLError
from urllib.parse import urlsplit

from requests import PreparedRequest, Request, RequestException, Timeout
from urllib3.exceptions import HTTPError

from orchestrator.api.attempt import CURRENT, Attempt, Seal, Stopped, Watchdog
from orchestrator.api.proxy import proxy_for
from orchestrator.api.transport import Adapter, tls_context
from orchestrator.core import Clock, Http, Notify, UsageError, is_unencrypted

MOST_READ = 200
"""Bytes of an answer that are read: Slack says in one word what it did not like."""

_NO_CREDENTIAL = "none"  # no header has the mark that a credential would be put in the place of

_FAILURES = (Stopped, RequestException, HTTPError, HTTPException, OSError, ValueError)


class HttpPoster:
    """Sends JSON to webhooks, by the proxy and CA bundle of the settings or the environment, never of a netrc."""

    def __init__(self, *, clock: Clock, http: Http, environ: Mapping[str, str], user_agent: str) -> None:
        self._clock, self._http, self._environ = clock, http, environ
        self._headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": user_agent,
        }
        self._watchdog = Watchdog(clock)

    def post(self, address: str, body: bytes, *, seconds: float) -> str | None:
        """Send the body once; None when it was taken, else why not. After `seconds` the connection is cut.

        UsageError for an address that must not be sent to.
        """
        check_address(address)
        attempt = Attempt(
            clock=self._clock, deadline=self._clock.boot() + seconds, seal=Seal(lambda: _NO_CREDENTIAL)
        )
        current = CURRENT.set(attempt)
        self._watchdog.watch(attempt)
        try:
            return self._exchange(address, body, attempt)
        except _FAILURES as error:
            return _why(error, attempt, urlsplit(address).hostname or "")
        finally:
            self._watchdog.release(attempt)
            CURRENT.reset(current)

    def _exchange(self, address: str, body: bytes, attempt: Attempt) -> str | None:
        proxy = proxy_for(address, self._http.proxy, self._environ)
        proxies = {"https": proxy} if proxy else {}
        with closing(Adapter(self._context(address))) as adapter:
            response = adapter.send(
                self._prepared(address, body), stream=True, timeout=attempt.remaining(), proxies=proxies
            )
            with closing(response):
                if 200 <= response.status_code < 300:
                    return None
                said = response.raw.read(MOST_READ, decode_content=True).decode("utf-8", "replace")
                return _refusal(response.status_code, said)

    def _prepared(self, address: str, body: bytes) -> PreparedRequest:
        return Request("POST", address, headers=self._headers, data=body).prepare()

    def _context(self, address: str) -> SSLContext | None:
        if urlsplit(address).scheme == "http":
            return None
        from_environ = self._environ.get("REQUESTS_CA_BUNDLE") or self._environ.get("SSL_CERT_FILE")
        return tls_context(self._http.ca_bundle or from_environ or None)


def read_address(notify: Notify) -> str:
    """The address in the receiver's file; UsageError, which does not quote it, when there is none that can be used."""
    try:
        return check_address(Path(notify.url_file).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the file cannot be read ({why})") from None


def check_address(address: str) -> str:
    """The address as written; UsageError, which does not quote it, unless it is https, or http to loopback."""
    parts = urlsplit(address)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("https", "http") or any(char.isspace() for char in address):
        raise UsageError("it holds no address: write https://HOST/PATH and nothing else into it")
    if is_unencrypted(parts.scheme, host):
        raise UsageError("its address would be sent unencrypted: write https://")
    return address


def _refusal(status: int, said: str) -> str:
    if 300 <= status < 400:
        return (
            f"it answered with a redirect ({status}), which is not followed: write the address it points to"
        )
    word = said.strip()
    return (
        f"it answered {status} ({word})"
        if word.replace("_", "").isalnum() and len(word) <= 40
        else f"it answered {status}"
    )


def _why(error: BaseException, attempt: Attempt, host: str) -> str:
    """Why there is no answer; the library's own words would quote the address."""
    inner: BaseException | None = error
    while inner is not None:
        if attempt.cut is not None or isinstance(inner, TimeoutError | Timeout):
            return attempt.late()
        if isinstance(inner, SSLError):
            return f"TLS with {host} failed"
        inner = inner.__cause__ or inner.__context__
    return f"no answer from {host} ({type(error).__name__})"
