"""Reading within the general limit, and what is told while it waits."""

from __future__ import annotations

import re
import threading
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from orchestrator.api.catalog import Query
from orchestrator.api.read_limit import PATIENCE, SLOW, SLOW_AGAIN, PacedGetter, Pause
from orchestrator.api.response import Answer
from orchestrator.core.clock import ScaledClock
from orchestrator.output import pause_text
from tests.support.clock import VirtualClock
from tests.support.incident import Script

LONGEST = 120.0
"""Seconds after which something that should have happened is given up."""


def limit(remaining: int, reset: float) -> dict[str, str]:
    """The general limit's headers, its reset in seconds."""
    return {
        "x-organization-rate-limit-limit": "240",
        "x-organization-rate-limit-remaining": str(remaining),
        "x-organization-rate-limit-reset": str(reset),
    }


def test_with_nothing_remaining_the_next_request_waits_for_the_reset() -> None:
    """The request after the one that used the limit up goes when its window has ended, and the user is told."""
    clock, told = VirtualClock(), list[Pause]()
    script = Script(clock, (200, limit(0, 42)), (200, limit(239, 60)))
    reader = PacedGetter(script, clock, name="acme", tell=told.append)
    for _ in range(3):
        reader.get("/tests")
    assert script.times == [0.0, 42.0, 42.0]
    assert [pause_text(one, ZoneInfo("Europe/Berlin")) for one in told] == [
        "acme: the API's limit of 240 requests a minute is used up; next 12:07:22 CET (42 s)"
    ]
    assert (reader.remaining, reader.most) == (239, 240)


def test_a_refused_request_is_asked_again_after_the_reset() -> None:
    """A 429 of the general limit costs a wait and not the answer."""
    clock = VirtualClock()
    script = Script(clock, (429, limit(0, 30)), (200, limit(100, 60)))
    assert PacedGetter(script, clock).get("/tests").status == 200
    assert script.times == [0.0, 30.0]


def test_without_patience_a_refusal_is_the_answer() -> None:
    """Whoever only looks is told at once."""
    clock = VirtualClock()
    script = Script(clock, (429, limit(0, 30)))
    reader = PacedGetter(script, clock, patience=0.0)
    assert reader.get("/tests").status == 429
    assert (script.times, reader.reset_in) == ([0.0], 30.0)


def test_a_wait_is_told_once_to_all_who_read_meanwhile() -> None:
    """Whoever comes while somebody waits waits as long, and says nothing."""
    clock, told, answers = VirtualClock(), list[Pause](), list[int | None]()
    script = Script(clock, (200, limit(0, 42)), (200, limit(239, 60)))

    def tell(pause: Pause) -> None:
        told.append(pause)
        answers.append(reader.get("/tags").status)

    reader = PacedGetter(script, clock, name="acme", tell=tell)
    answers += [reader.get("/tests").status for _ in range(2)]
    assert (len(told), answers, script.times) == (1, [200, 200, 200], [0.0, 42.0, 42.0])


def test_an_answer_that_was_on_its_way_does_not_end_the_wait() -> None:
    """It was sent before another one was refused."""
    clock = VirtualClock()

    class Overtaken(Script):
        """While the first list is on its way the second one is refused."""

        nested = False

        def get(self, path: str, query: Query = ()) -> Answer:
            if not self.nested:
                self.nested = True
                assert reader.get("/tags").status == 429
                return Answer(sent=True, status=200, body=b"{}")
            return super().get(path, query)

    script = Overtaken(clock, (429, {"retry-after": "3600"}))
    reader = PacedGetter(script, clock)
    assert [reader.get("/tests").status, reader.get("/tests").status] == [200, 429]
    assert script.times == [0.0]


def test_an_answer_without_the_limits_headers_closes_nothing() -> None:
    """The wait of before is over, whatever became of the request after it."""
    clock, told = VirtualClock(), list[Pause]()
    script = Script(clock, (200, limit(0, 42)), (502, {}), (200, limit(239, 60)))
    reader = PacedGetter(script, clock, tell=told.append)
    for _ in range(2):
        reader.get("/tests")
    assert (script.times, len(told)) == ([0.0, 42.0, 43.0], 1)


def test_whoever_stops_is_told_of_no_further_wait() -> None:
    """The client is closed by then, and answers nothing."""
    clock, told, stopped = VirtualClock(), list[Pause](), list[bool]()

    def tell(pause: Pause) -> None:
        told.append(pause)
        stopped.append(True)

    script = Script(clock, (200, limit(0, 42)), (429, limit(0, 42)))
    reader = PacedGetter(script, clock, tell=tell, stopped=lambda: bool(stopped))
    for _ in range(2):
        reader.get("/tests")
    assert len(told) == 1


@pytest.mark.parametrize("status", [502, None])
def test_a_failure_is_asked_again_shortly(status: int | None) -> None:
    """A gateway's error or no answer at all is tried three times, a second apart."""
    clock = VirtualClock()
    script = Script(clock, (status, {}))
    assert PacedGetter(script, clock).get("/tests").status == status
    assert script.times == [0.0, 1.0, 2.0]


class Dead(Script):
    """A server that takes a request and never answers, until the timeout."""

    def get(self, path: str, query: Query = ()) -> Answer:
        answer = super().get(path, query)
        self._clock.advance(60.0)
        return answer


def test_a_server_that_never_answers_is_asked_once() -> None:
    """Each further try would cost a minute."""
    clock = VirtualClock()
    script = Dead(clock, (None, {}))
    assert PacedGetter(script, clock).get("/tests").status is None
    assert script.times == [0.0]


def test_an_answer_that_says_no_is_not_asked_again() -> None:
    """A 403 stays a 403."""
    clock = VirtualClock()
    script = Script(clock, (403, {}))
    PacedGetter(script, clock).get("/tests")
    assert script.times == [0.0]


class Slow:
    """A getter whose answers come when they are let go."""

    base_url = "https://api.thousandeyes.com/v7"

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def get(self, path: str, query: Query = ()) -> Answer:
        """The answer, at last."""
        assert self.let_go.wait(LONGEST)
        return Answer(sent=True, status=200, body=b"{}")


class Standing(ScaledClock):
    """A clock that can be stopped, so that no busy machine makes an answer late."""

    stands_at: float | None = None

    def stand_still(self) -> None:
        """From now on nothing becomes due."""
        self.stands_at = self.boot()

    def boot(self) -> float:
        return super().boot() if self.stands_at is None else self.stands_at

    def real(self, seconds: float) -> float:
        return super().real(seconds) if self.stands_at is None else 2 * LONGEST


@pytest.mark.socket  # waits in real time, a hundred times shorter
def test_a_slow_answer_is_spoken_of_until_it_comes() -> None:
    """After three seconds, and then every half minute; not any more once it is there."""
    clock, slow, told = Standing(100.0), Slow(), list[Pause]()

    def tell(pause: Pause) -> None:
        told.append(pause)
        if len(told) == 2:
            clock.stand_still()
            slow.let_go.set()

    reader = PacedGetter(slow, clock, name="acme", tell=tell)
    assert reader.get("/alerts").status == 200
    for watching in [one for one in threading.enumerate() if one.name == "tesnap-slow"]:
        watching.join(LONGEST)
        assert not watching.is_alive()
    assert [pause_text(one, UTC) for one in told] == [
        "acme: still waiting for the list of alerts, for 3 s now",
        "acme: still waiting for the list of alerts, for 33 s now",
    ]
    assert [one.seconds for one in told] == [SLOW, SLOW + SLOW_AGAIN]


def test_a_clock_that_takes_no_time_has_nothing_to_tell() -> None:
    """In virtual time nobody waits for an answer."""
    told = list[Pause]()
    reader = PacedGetter(Script(VirtualClock(), (200, {})), VirtualClock(), tell=told.append)
    for _ in range(20):
        reader.get("/tests")
    assert told == []


# -- a 429 that asks to wait -------------------------------------------------------------------------------

ODD = {
    "huge": "99999999999999999999",
    "beyond numbers": "1e999",
    "negative": "-30",
    "fraction": "0.5",
    "past": "Wed, 21 Oct 2015 07:28:00 GMT",
    "far future": "Fri, 31 Dec 9999 23:59:59 GMT",
    "impossible": "Fri, 99 Foo 99999 99:99:99 GMT",
    "garbage": "soon",
    "empty": "",
    "null": "\x00",
}
"""What a `Retry-After` may hold."""


@pytest.mark.parametrize("kind", ODD)
def test_whatever_a_refusal_asks_for_reading_ends_and_says_why(kind: str) -> None:
    """Ten lists that are all refused: two minutes of waiting in all at the most, each wait and its end told."""
    clock, told = VirtualClock(), list[Pause]()
    headers = {"retry-after": ODD[kind], "date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    script = Script(clock, (429, headers))
    reader, begun = PacedGetter(script, clock, name="acme", tell=told.append), clock.boot()
    for _ in range(10):
        assert reader.get("/tests").status == 429
    assert clock.boot() - begun <= PATIENCE
    assert len(script.times) <= 30
    texts = [pause_text(one, ZoneInfo("Europe/Berlin")) for one in told]
    assert any(one.skipped for one in told)
    assert all(
        re.match(r"reading the list of tests of acme: the API asks to wait until .* CET", one)
        for one in texts
    )


def test_while_it_asks_for_an_hour_it_is_not_asked_again() -> None:
    """The refusal stands for every list, and is said once; after the hour it is asked."""
    clock, told = VirtualClock(), list[Pause]()
    script = Script(clock, (429, {"retry-after": "3600"}), (200, {}))
    reader = PacedGetter(script, clock, name="acme", tell=told.append)
    assert [reader.get(path).status for path in ("/account-groups", "/tests", "/tags")] == [429] * 3
    assert (script.times, len(told)) == ([0.0], 1)
    assert "(1 h); that is too long to wait, so it is left out" in pause_text(told[0], UTC)
    clock.advance(3600.0)
    assert reader.get("/tests").status == 200


def test_after_an_answer_there_is_patience_again() -> None:
    """The two minutes are for one wait; a long survey may meet several."""
    clock = VirtualClock()
    script = Script(clock, (429, {"retry-after": "100"}), (200, {}), (429, {"retry-after": "100"}), (200, {}))
    reader = PacedGetter(script, clock)
    assert [reader.get("/tests").status for _ in range(2)] == [200, 200]
    assert script.times == [0.0, 100.0, 100.0, 200.0]
