"""HTTP to one server: an exchange is one attempt, cut off at its deadline, and never sent twice.

An answer of any kind, or none, is a value: only a caller's own refusal before the first byte is raised. No
redirect is followed, and proxies and CA bundles are those the settings or the environment name, never those
of a netrc.
"""

from __future__ import annotations

import ssl
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from orchestrator.api.attempt import Attempt, Watchdog
from orchestrator.api.connection import POOLS
from orchestrator.api.failures import FAILURES, describe_failure
from orchestrator.api.proxy import find_proxy
from orchestrator.api.response import Answer, date_offset
from orchestrator.core import Clock, Http, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Request, Response

CONNECTIONS = 5
"""Connections kept open per organization: as many as it has tokens."""

_CHUNK = 2**16

_ABORTED = "aborted by this program before an answer came"


class Transport:
    """The way to one server; any number of threads may use it at once.

    UsageError for a proxy or CA bundle that cannot be used.
    """

    def __init__(self, url: str, *, clock: Clock, http: Http, environ: Mapping[str, str]) -> None:
        proxy = find_proxy(url, http.proxy, environ)
        self._proxies = {"https": proxy} if proxy else {}
        self._adapter = Adapter(_find_context(url, http, environ))
        self._clock, self._watchdog = clock, Watchdog(clock)
        self.closed = False

    def exchange(self, request: Request, attempt: Attempt, *, most: int) -> Answer:
        """Send the request once; the answer has at most this many bytes of body, and none of a longer one."""
        with self._watchdog.watch(attempt):  # before the look at `closed`: closing cuts off what is watched
            answer = (
                Answer(sent=False, failure=_ABORTED) if self.closed else self._send(request, attempt, most)
            )
        if attempt.refusal is not None:  # outside the except clause that saw it: no context, no other frames
            raise attempt.refusal
        return answer

    def abort_all(self) -> None:
        """Cut off whatever is under way, at once; the threads that wait for it get their answers."""
        self._watchdog.cut_all(_ABORTED)

    def close(self) -> None:
        """Cut off what is under way and close all connections; nothing more is sent."""
        self.closed = True
        self.abort_all()
        self._adapter.close()

    def _send(self, request: Request, attempt: Attempt, most: int) -> Answer:
        try:
            response = self._adapter.send(
                request.prepare(), stream=True, timeout=attempt.remaining(), proxies=self._proxies
            )
        except FAILURES as error:
            return Answer(sent=attempt.sent, failure=describe_failure(error, attempt))
        offset = date_offset(response.headers.get("Date"), self._clock.wall())
        with closing(response):
            body, failure = _read(response, most, attempt)
        mask = attempt.authorization.mask if attempt.authorization else bytes
        headers = {name.lower(): mask(value.encode()).decode() for name, value in response.headers.items()}
        return Answer(
            sent=True,
            status=response.status_code,
            headers=headers,
            body=mask(body),
            failure=failure,
            date_offset=offset,
        )


class Adapter(HTTPAdapter):
    """requests' transport over our connections: one TLS context, no retries.

    It is used without a `Session`: redirects, cookies, netrc and the environment all live there.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        contexts = {"ssl_context": self._context, "proxy_ssl_context": self._context}
        found = super().proxy_manager_for(proxy, **contexts, **more)
        found.pool_classes_by_scheme = POOLS
        return found

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool alone: certificates are checked by the context, always."""


@lru_cache(maxsize=8)
def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """The TLS settings of all connections that trust this bundle (None: the one requests ships with)."""
    source = Path(ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        if source.is_dir():
            context.load_verify_locations(capath=source)
        else:
            context.load_verify_locations(cafile=source)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"the CA bundle {source} cannot be read ({error.strerror or error}): name a PEM file in "
            "http.ca_bundle or REQUESTS_CA_BUNDLE"
        ) from error
    return context


def _find_context(url: str, http: Http, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    if urlsplit(url).scheme == "http":
        return None
    from_environ = environ.get("REQUESTS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
    return tls_context(http.ca_bundle or from_environ or None)


def _read(response: Response, most: int, attempt: Attempt) -> tuple[bytes, str | None]:
    """The body, as far as it came, and what is wrong with it."""
    body = bytearray()
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > most:
                return b"", f"the answer is larger than {most // 2**20} MiB"
    except FAILURES as error:
        return bytes(body), describe_failure(error, attempt)
    return bytes(body), attempt.cut  # a cut connection ends like an answer without a declared length
