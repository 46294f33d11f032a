"""Signs of life in four styles, against receivers that follow the documents of each."""

from __future__ import annotations

import uuid
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.ping import PingMessage, PingMoment, make_request, send_ping
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import UsageError
from orchestrator.core.jobs import Http, PingStyle
from orchestrator.core.redact import hide
from orchestrator.core.tasks import Counts
from tests.support.switches import BODY_LIMIT, CHECK, PATHS, Switches, serve_switches, take
from tests.support.wire import Server, always, answer, closed_port

SERIES = str(uuid.uuid5(uuid.NAMESPACE_URL, "tesnap:k7f2"))

COUNTS = Counts(created=42, existing=3, failed=2, uncertain=1)

EXPECTED = {
    PingStyle.HEALTHCHECKS: ["start", "success", "fail", "log"],
    PingStyle.CRONITOR: ["run", "complete", "fail"],
    PingStyle.KUMA: ["up", "down"],
    PingStyle.PLAIN: ["alive"],
}

send = partial(send_ping, http=Http(), environ={}, user_agent="tesnap/test")


class HurriedClock(SystemClock):
    """Real time, in which a sleep takes none."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def boot(self) -> float:
        return super().boot() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += seconds


def message(moment: PingMoment, text: str = "45 of 48 made") -> PingMessage:
    return PingMessage(moment=moment, series=SERIES, text=text, exit_code=3, counts=COUNTS, seconds=61.5)


@pytest.mark.socket
@pytest.mark.parametrize("style", list(PingStyle))
def test_each_moment_is_said_in_the_words_of_the_style(style: PingStyle) -> None:
    """Nothing is refused; of an early stop only a log is kept, where there is one."""
    with serve_switches() as switches:
        for moment in PingMoment:
            assert (
                send(switches.url + PATHS[style], style, message(moment), 30.0, clock=SystemClock()) is None
            )
    assert switches.refused == []
    assert switches.said == EXPECTED[style]


@pytest.mark.socket
def test_a_start_and_its_end_belong_together() -> None:
    """Healthchecks by `rid`, which is a UUID, Cronitor by `series`; the counts, the code and the length go along."""
    with serve_switches() as switches:
        for style in (PingStyle.HEALTHCHECKS, PingStyle.CRONITOR):
            for moment in (PingMoment.START, PingMoment.FAILURE):
                send(switches.url + PATHS[style], style, message(moment), 30.0, clock=SystemClock())
    assert {one.series for one in switches.taken} == {SERIES}
    assert switches.taken[1].text == "45 of 48 made"
    cronitor = switches.taken[3].query
    assert cronitor["metric"] == ["duration:62", "count:48", "error_count:3"]
    assert cronitor["status_code"] == ["3"]


def test_what_stands_in_an_address_already_is_kept_or_replaced() -> None:
    """Uptime Kuma's own address says `up`; a query of one's own stays."""
    address = "https://kuma.example/api/push/abc?status=up&msg=OK&ping=&tenant=a%26b"
    made = make_request(address, PingStyle.KUMA, message(PingMoment.FAILURE))
    assert made is not None
    query = parse_qs(urlsplit(made.address).query, keep_blank_values=True)
    assert query == {"status": ["down"], "msg": ["45 of 48 made"], "ping": ["61500"], "tenant": ["a&b"]}
    made = make_request(
        "https://hc.example/ping/abc/?create=1", PingStyle.HEALTHCHECKS, message(PingMoment.START)
    )
    assert made is not None
    assert made.address == f"https://hc.example/ping/abc/start?create=1&rid={SERIES}"


@given(st.text(max_size=12_000), st.sampled_from(list(PingStyle)), st.sampled_from(list(PingMoment)))
def test_any_text_fits_its_receiver(text: str, style: PingStyle, moment: PingMoment) -> None:
    """However long it is and whatever is in it: cut at a character's end."""
    made = make_request(
        "http://127.0.0.1" + PATHS[style], style, message(moment, text.encode(errors="replace").decode())
    )
    if made is not None:
        switches = Switches()
        target = made.address.removeprefix("http://127.0.0.1")
        assert take(switches, made.method, target, made.body)[0] == 200, switches.refused
        assert len(made.body) <= BODY_LIMIT


@pytest.mark.parametrize("style", list(PingStyle))
def test_no_secret_and_no_link_is_told(style: PingStyle) -> None:
    """A ping goes to somebody else's service."""
    secret = "9f8e7d6c-canary-in-a-ping"
    hide(secret)
    text = f"{secret} https://wdiac.share.thousandeyes.com/view/tests/?x=1"
    made = make_request("http://127.0.0.1" + PATHS[style], style, message(PingMoment.SUCCESS, text))
    assert made is not None
    assert not any(word in f"{made.address} {made.body!r}" for word in (secret, "view/tests", "view%2Ftests"))


@pytest.mark.socket
def test_a_receiver_that_is_away_for_a_moment_is_asked_again() -> None:
    """After 503, with growing pauses, as far as there is time; not after a refusal that stays one."""
    clock = HurriedClock()
    with serve_switches() as switches:
        address = switches.url + PATHS["healthchecks"]
        switches.failing = 3
        assert send(address, PingStyle.HEALTHCHECKS, message(PingMoment.SUCCESS), 30.0, clock=clock) is None
        assert switches.said == ["success"]
        switches.failing = 99
        told = send(address, PingStyle.HEALTHCHECKS, message(PingMoment.SUCCESS), 5.0, clock=clock)
        assert told == "it answered 503 (busy)"
        assert 99 - switches.failing == 4  # three pauses
        switches.failing = 0
        wrong = address.replace(CHECK, "0" * 36)
        told = send(wrong, PingStyle.HEALTHCHECKS, message(PingMoment.SUCCESS), 30.0, clock=clock)
        assert told == "it answered 400"
    assert len(switches.refused) == 1


@pytest.mark.socket
def test_who_does_not_take_it_is_told_without_the_address() -> None:
    """Nobody there, a refusal, an unencrypted way: never more than the host in the words."""
    told = send(
        f"http://127.0.0.1:{closed_port()}{PATHS['plain']}",
        PingStyle.PLAIN,
        message(PingMoment.SUCCESS),
        3.0,
        clock=HurriedClock(),
    )
    assert told
    assert CHECK not in told
    with Server(always(answer("404 Not Found", CHECK.encode()))) as server:
        address = server.url.removesuffix("/v7") + PATHS["plain"]
        told = send(address, PingStyle.PLAIN, message(PingMoment.SUCCESS), 5.0, clock=SystemClock())
    assert told == "it answered 404"
    with pytest.raises(UsageError) as caught:
        send(
            f"http://hc.example/{CHECK}",
            PingStyle.PLAIN,
            message(PingMoment.SUCCESS),
            1.0,
            clock=SystemClock(),
        )
    assert CHECK not in str(caught.value)
