"""Pings of a dead man's switch: a service that alarms somebody when a job was not heard of, in the words of four of them.

healthchecks: healthchecks.io/docs/http_api; cronitor: cronitor.io/docs/telemetry-api; kuma: Uptime Kuma's push monitor;
plain: any address that takes a GET as a sign of success. The address is a secret like a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from orchestrator.api.webhook import check_address, send_once
from orchestrator.core import Clock, Counts, Http, PingStyle, mask_secrets, without_links

LONGEST_BODY = 10_000
"""Bytes of what healthchecks is told: a server that one runs oneself keeps as many (its `PING_BODY_LIMIT`)."""

LONGEST_MESSAGE = 2_000
"""Characters of Cronitor's `message`."""

LONGEST_WORDS = 250
"""Characters of Uptime Kuma's `msg`, which is part of an address."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds between attempts at a receiver that is away, as far as there is time for them."""


class PingMoment(StrEnum):
    """The news that a ping is about."""

    START = "start"
    SUCCESS = "success"
    FAILURE = "failure"
    STOPPED = "stopped"  # early, and to be carried on: neither of the two


class PingMessage(NamedTuple):
    """One sign of life: of which start (`series`, a UUID), with which last line, exit code, counts and seconds."""

    moment: PingMoment
    series: str
    text: str = ""
    exit_code: int = 0
    counts: Counts | None = None
    seconds: float = 0.0


class PingRequest(NamedTuple):
    """One request of a style."""

    method: str
    address: str
    body: bytes = b""


def make_request(address: str, style: PingStyle, message: PingMessage) -> PingRequest | None:
    """The request by which a style says this; None where it has no word for it."""
    message = _without_secrets(message)
    return _STYLES[style](address, message)


def send_ping(
    address: str,
    style: PingStyle,
    message: PingMessage,
    seconds: float,
    *,
    clock: Clock,
    http: Http,
    environ: Mapping[str, str],
    user_agent: str,
) -> str | None:
    """Ping within so many seconds, again while the receiver is away; None when it was taken, or there is nothing to say.

    Otherwise why not. UsageError for an address that must not be sent to.
    """
    request = make_request(check_address(address), style, message)
    if request is None:
        return None
    end, refusal = clock.boot() + seconds, None
    send = partial(send_once, clock=clock, http=http, environ=environ, user_agent=user_agent)
    for pause in (*PAUSES, None):
        refusal = send(
            request.method,
            request.address,
            request.body,
            max(0.1, end - clock.boot()),
            content_type="text/plain; charset=utf-8",
        )
        if refusal is None or not refusal.passing or pause is None or clock.boot() + pause >= end:
            break
        clock.sleep(pause)
    return None if refusal is None else refusal.text


def _without_secrets(message: PingMessage) -> PingMessage:
    """The message as a stranger may read it: no link, no secret."""
    return message._replace(text=without_links(mask_secrets(message.text)))


# -- the styles --------------------------------------------------------------------------------------------


def _healthchecks(address: str, message: PingMessage) -> PingRequest:
    """The moment is the end of the path, `rid` ties an end to its start, and the body is kept as a log."""
    ends = {
        PingMoment.START: "/start",
        PingMoment.SUCCESS: "",
        PingMoment.FAILURE: "/fail",
        PingMoment.STOPPED: "/log",
    }
    parts = urlsplit(address)
    path = parts.path.rstrip("/") + ends[message.moment]
    return PingRequest(
        method="POST",
        address=_with_query(urlunsplit(parts._replace(path=path)), {"rid": message.series}),
        body=message.text.encode()[:LONGEST_BODY].decode(errors="ignore").encode(),
    )


def _cronitor(address: str, message: PingMessage) -> PingRequest | None:
    """The moment is `state`, `series` ties an end to its start; of a start that is carried on nothing is said."""
    states = {PingMoment.START: "run", PingMoment.SUCCESS: "complete", PingMoment.FAILURE: "fail"}
    if message.moment not in states:
        return None
    values: dict[str, str | list[str]] = {"state": states[message.moment], "series": message.series}
    if message.moment is not PingMoment.START:
        values |= {"status_code": str(message.exit_code), "message": message.text[:LONGEST_MESSAGE]}
        values["metric"] = [f"duration:{message.seconds:.0f}", *_cronitor_counts(message.counts)]
    return PingRequest(method="GET", address=_with_query(address, values))


def _cronitor_counts(counts: Counts | None) -> list[str]:
    if counts is None:
        return []
    return [f"count:{counts.total}", f"error_count:{counts.failed + counts.uncertain}"]


def _kuma(address: str, message: PingMessage) -> PingRequest | None:
    """`status` is up or down; the address as it is copied from its page says `up` already."""
    states = {PingMoment.SUCCESS: "up", PingMoment.FAILURE: "down"}
    if message.moment not in states:
        return None
    milliseconds = str(round(message.seconds * 1000))
    words = message.text[:LONGEST_WORDS] or "OK"
    values = {"status": states[message.moment], "msg": words, "ping": milliseconds}
    return PingRequest(method="GET", address=_with_query(address, values))


def _plain(address: str, message: PingMessage) -> PingRequest | None:
    return PingRequest(method="GET", address=address) if message.moment is PingMoment.SUCCESS else None


_STYLES: Mapping[PingStyle, Callable[[str, PingMessage], PingRequest | None]] = {
    PingStyle.HEALTHCHECKS: _healthchecks,
    PingStyle.CRONITOR: _cronitor,
    PingStyle.KUMA: _kuma,
    PingStyle.PLAIN: _plain,
}


def _with_query(address: str, values: Mapping[str, str | list[str]]) -> str:
    """The address with these in its query, instead of what it has under their names; the rest stays."""
    parts = urlsplit(address)
    kept = [
        (key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key not in values
    ]
    query = urlencode([*kept, *values.items()], doseq=True, quote_via=quote)
    return urlunsplit(parts._replace(query=query))
