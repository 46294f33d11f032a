"""`--quiet` says what somebody has to act on: nothing at all of a run that ends with 0."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.events import Event, Progress, Waiting
from orchestrator.core.tasks import Counts, Reason
from orchestrator.output.terminal import MOST_HELD
from tests.output.test_terminal import CREATED, RUN, Stage

NOTES = st.builds(
    Event,
    name=st.just("a.b"),
    text=st.text("abc", min_size=1),
    level=st.sampled_from(["debug", "info", "warning"]),
)

WAITS = st.builds(
    Waiting, organization=st.just("acme"), reason=st.sampled_from(Reason), until=st.none(), left=st.just(1)
)


def show(stage: Stage, news: list[Event | Waiting]) -> None:
    """Show a run up to its end."""
    stage.view.on_start(RUN, 1)
    for one in news:
        if isinstance(one, Event):
            stage.view.on_event(one)
        else:
            stage.view.on_progress(Progress(now=1.0, counts=Counts(queued=1), waiting=[one]))
    stage.view.on_result(CREATED)


@given(st.lists(st.one_of(NOTES, WAITS)))
def test_a_quiet_run_that_ends_well_says_nothing(news: list[Event | Waiting]) -> None:
    """Whatever it met and got over."""
    stage = Stage(quiet=True)
    show(stage, news)
    stage.end(0, created=1)
    assert stage.stderr.getvalue() == ""


@given(st.lists(NOTES, max_size=MOST_HELD), st.sampled_from([1, 3, 4, 5]))
def test_a_quiet_run_that_does_not_end_well_tells_its_warnings(news: list[Event], code: int) -> None:
    """In their order, before the last line."""
    stage = Stage(quiet=True)
    show(stage, [*news])
    stage.end(code, created=1)
    *told, _ = stage.told()
    assert told == [f"warning: {one.text}" for one in news if one.level == "warning"]


def test_what_a_quiet_run_has_waited_for_is_not_told_when_it_is_over() -> None:
    """It reads as if somebody were waiting still: the last line says why what is pending is."""
    stage = Stage(quiet=True)
    wait = Waiting(organization="acme", reason=Reason.TOKEN_REFUSED, until=99.0, left=1)
    token = Event(name="token.refused", text="read again", level="warning")
    show(stage, [wait, token, Event(name="b", text="odd", level="warning")])
    stage.end(4, created=1)
    told, _ = stage.told()
    assert told == "warning: odd"


def test_what_stops_an_organization_is_told_at_once_and_the_rest_when_a_run_breaks_off() -> None:
    """Somebody can act before the end; and without an end nobody knows that it went well."""
    stage = Stage(quiet=True)
    stage.view.on_event(Event(name="a", text="stopped", level="error"))
    stage.view.on_event(Event(name="b", text="odd", level="warning"))
    assert stage.told() == ["error: stopped"]
    stage.view.close()
    assert stage.told() == ["error: stopped", "warning: odd"]


def test_what_fails_after_the_end_is_told() -> None:
    """A report that is missing, a channel that heard nothing: the run is over, and somebody has to act."""
    stage = Stage(quiet=True)
    show(stage, [])
    stage.end(0, created=1)
    stage.view.on_event(Event(name="report.failed", text="no report", level="warning"))
    assert stage.told() == ["warning: no report"]
