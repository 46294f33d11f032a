"""Somebody else answers in the API's place: a sign-in page, a captive network, a gateway. Whole runs over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import ApiUnavailable
from orchestrator.core.jobs import Select
from orchestrator.core.tasks import Reason
from orchestrator.simulator import Exchange, Reply, Simulator, example_world, serve
from tests.support.http import PERIOD, PROMPT, TIMEOUT, jobfile_for, run_over_http

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

SIGN_IN = b"<!doctype html><html><head><title>Sign in</title></head><body>Guest network</body></html>"
HTML = {"Content-Type": "text/html", "Server": "portal/2"}
PAGE = Reply(status=200, headers=HTML, body=SIGN_IN)
REDIRECT = Reply(status=302, headers={"Location": "http://portal.example/login?secret=1"}, body=b"")
BLOCKED = Reply(status=403, headers=HTML, body=b"<html><h1>Blocked by policy</h1></html>")
NOWHERE = Reply(status=404, headers=HTML, body=b"<html><title>404 Not Found</title></html>")
JSON = Reply(status=200, headers={"Content-Type": "application/json"}, body=b'{"error": "login_required"}')


class Portal(Simulator):
    """The API on a network where others answer in its place, by the request's method, until somebody signed in.

    `passes_on`: the API gets each request for a snapshot all the same, and only its answer is lost.
    """

    answers: Mapping[str, Reply]
    signed_in = passes_on = False
    kept_back = 0  # requests for snapshots that somebody else answered

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        method = exchange.request.method
        if self.signed_in or method not in self.answers:
            return super().process(exchange, at)
        self.kept_back += method == "POST"
        if method == "POST" and self.passes_on:
            super().process(exchange, at)
        return self.answers[method]


@contextmanager
def portal(**answers: Reply) -> Iterator[tuple[Portal, str]]:
    """Such a network around an organization with six tests, and its base URL."""
    clock = SystemClock()
    simulator = Portal(example_world(1, 6, now=clock.wall()), period=PERIOD, latency=PROMPT)
    simulator.answers = answers
    with serve(simulator, clock=clock, hang=TIMEOUT + 1) as url:
        yield simulator, url


def signed_in_later(simulator: Portal, url: str, place: Path, **job: Any) -> tuple[Any, Any, list[str]]:
    """The ending of a run on such a network, the results of it once somebody signed in, and what was told."""
    jobfile = jobfile_for(simulator, url, timeout=TIMEOUT, **job)
    stopped, notebook = run_over_http(simulator, jobfile, place, run_id="r1")
    simulator.signed_in = True
    resumed, after = run_over_http(simulator, jobfile, place, run_id="r1")
    assert (resumed.exit_code, resumed.counts.created, resumed.counts.pending) == (0, 6, 0)
    return stopped, after.results, [event.text for event in notebook.events]


def test_on_a_network_that_asks_for_a_login_nothing_is_sent(tmp_path: Path) -> None:
    """The lists show it; all stays pending, and the reason names who answers and what to do."""
    with portal(GET=PAGE, POST=PAGE) as (simulator, url):
        stopped, results, told = signed_in_later(simulator, url, tmp_path / "store.db")
    assert (stopped.exit_code, stopped.pending_reasons) == (5, {Reason.NOT_THE_API.value: 6})
    assert simulator.kept_back == 0
    (why,) = [text for text in told if "in the API's place" in text]
    assert "a web page titled 'Sign in' (200, server portal/2). Log in to the network" in why
    assert not any(result.duplicate_possible for result in results)


def test_what_the_lists_would_select_is_not_left_out_for_good(tmp_path: Path) -> None:
    """Without them the plan would be a part of what was meant: nothing is frozen."""
    with portal(GET=PAGE, POST=PAGE) as (simulator, url):
        jobfile = jobfile_for(simulator, url, timeout=TIMEOUT)
        selecting = replace(jobfile.jobs[0], name="s", tests=(), select=Select(enabled=True))
        with pytest.raises(ApiUnavailable, match="something else answers in the API's place"):
            run_over_http(simulator, replace(jobfile, jobs=(*jobfile.jobs, selecting)), tmp_path / "store.db")
    assert simulator.kept_back == 0


@pytest.mark.parametrize("page", [PAGE, JSON], ids=["page", "json"])
def test_after_somebody_else_s_success_nothing_more_is_sent(tmp_path: Path, page: Reply) -> None:
    """One request of six; later it is looked for, sent again, and flagged, it alone."""
    with portal(POST=page) as (simulator, url):
        stopped, results, _ = signed_in_later(simulator, url, tmp_path / "store.db")
    assert (stopped.exit_code, stopped.pending_reasons) == (5, {Reason.NOT_THE_API.value: 6})
    assert simulator.kept_back == 1
    assert [result.duplicate_possible for result in results].count(True) == 1


def test_what_was_made_behind_somebody_else_s_answer_is_found_and_not_made_again(tmp_path: Path) -> None:
    """The request had gone through: the saved event is there before it would be sent again."""
    with portal(POST=PAGE) as (simulator, url):
        simulator.passes_on = True
        _, results, _ = signed_in_later(simulator, url, tmp_path / "store.db", is_public=True)
    made = [entry.test for entry in simulator.log if entry.counted]
    assert len(made) == len(set(made)) == 6
    assert [result.found for result in results].count("saved_event") == 1


@pytest.mark.parametrize("refusal", [REDIRECT, BLOCKED, NOWHERE], ids=["redirect", "403", "404"])
def test_a_refusal_that_is_not_the_api_s_fails_no_task(tmp_path: Path, refusal: Reply) -> None:
    """Nothing was made for sure: one request, all pending, and nothing is flagged."""
    with portal(POST=refusal) as (simulator, url):
        stopped, results, told = signed_in_later(simulator, url, tmp_path / "store.db")
    assert (stopped.exit_code, stopped.pending_reasons) == (5, {Reason.NOT_THE_API.value: 6})
    assert simulator.kept_back == 1
    assert not any(result.duplicate_possible for result in results)
    assert "secret" not in "".join(told)
