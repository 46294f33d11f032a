"""One message to one webhook: sent once, within its time, and no redirect of its answer is followed.

The address of a webhook is a secret like a password: no error has more of it than the host and its port.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from requests import Request

from orchestrator.api.attempt import Attempt
from orchestrator.api.response import Answer
from orchestrator.api.transport import Transport
from orchestrator.core import Clock, Http, Notify, Ping, UsageError, hide, is_unencrypted, split_url

MOST_READ = 200
"""Bytes of a refusal that are read: Slack says in one word what it did not like."""

PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""Refusals, beside those of 500 and above, after which another attempt makes sense."""

_LONGEST_WORD = 40  # characters: posting_to_general_channel_denied, one of Slack's, has 33


class Undelivered(NamedTuple):
    """The reason why a receiver has not taken a message; `passing`: another attempt may help."""

    text: str
    passing: bool = False


def post_message(
    address: str,
    body: bytes,
    seconds: float,
    *,
    clock: Clock,
    http: Http,
    environ: Mapping[str, str],
    user_agent: str,
) -> str | None:
    """Send JSON to a webhook once; None when it was taken, else why not. After `seconds` the connection is cut.

    It goes by the proxy and CA bundle of the settings or the environment, never of a netrc. UsageError for an
    address that must not be sent to.
    """
    send = partial(send_once, clock=clock, http=http, environ=environ, user_agent=user_agent)
    refusal = send("POST", address, body, seconds, content_type="application/json")
    return None if refusal is None else refusal.text


def send_once(
    method: str,
    address: str,
    body: bytes,
    seconds: float,
    *,
    content_type: str,
    clock: Clock,
    http: Http,
    environ: Mapping[str, str],
    user_agent: str,
) -> Undelivered | None:
    """One request to a receiver, cut after `seconds`; None when it was taken."""
    check_address(address)
    headers = {"Accept-Encoding": "identity", "User-Agent": user_agent}
    if body:
        headers["Content-Type"] = content_type
    attempt = Attempt(clock=clock, deadline=clock.boot() + seconds)
    request = Request(method, address, headers=headers, data=body)
    with closing(Transport(address, clock=clock, http=http, environ=environ)) as transport:
        return _judge(transport.exchange(request, attempt, most=MOST_READ, only_refusals=True))


def read_address(notify: Notify | Ping) -> str:
    """The address in the receiver's file; UsageError, which does not quote it, when there is none that can be used."""
    try:
        address = Path(notify.url_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"the file cannot be read ({why})") from None
    hide(address.partition("://")[2].partition("/")[2])
    hide(address)
    return check_address(address)


def check_address(address: str) -> str:
    """The address as written; UsageError, which does not quote it, unless it is https, or http to loopback."""
    parts = split_url(address)
    if parts is None or parts.scheme not in ("https", "http"):
        raise UsageError("it holds no address: write https://HOST/PATH and nothing else into it")
    if is_unencrypted(parts.scheme, parts.hostname or ""):
        raise UsageError("its address would be sent unencrypted: write https://")
    return address


def _judge(answer: Answer) -> Undelivered | None:
    """The reason why the message was not taken; None when it was."""
    status = answer.status
    if status is None:
        return (
            None if answer.failure is None else Undelivered(text=answer.failure, passing=not answer.lasting)
        )
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Undelivered(
            text=f"it answered with a redirect ({status}), which is not followed: write the address it points to"
        )
    word = answer.body.decode("utf-8", "replace").strip()
    is_word = word.replace("_", "").isalnum() and len(word) <= _LONGEST_WORD
    text = f"it answered {status} ({word})" if is_word else f"it answered {status}"
    return Undelivered(text=text, passing=status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR)
