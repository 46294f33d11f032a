"""The bucket: its law, its gate and whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.jobs import Limit, Pace, Priority
from orchestrator.core.tasks import Closing, Reason
from orchestrator.ratelimit import bucket
from orchestrator.ratelimit.bucket import Bucket, Decision, Demand, Gate, Go, Token, Wait

LIMIT = Limit()
NOW = 10_000.0
NORMAL = Demand(mine={Priority.NORMAL: (0.0, Reason.OWN_QUOTA)})
SECONDS = st.floats(0, 700, allow_nan=False)


def full(limit: Limit = LIMIT) -> Bucket:
    """An organization of which nothing was ever asked."""
    return Bucket(tokens=[Token(number=n) for n in range(1, limit.snapshots + 1)], held={})


def go(decision: Decision) -> Go:
    """The grant that a decision must be."""
    assert isinstance(decision.outcome, Go)
    return decision.outcome


def wait(decision: Decision) -> Wait:
    """The wait that a decision must be."""
    assert isinstance(decision.outcome, Wait)
    return decision.outcome


def with_token(state: Bucket, number: int, returns_at: float) -> Bucket:
    """The bucket with one token out until then."""
    others = [token for token in state.tokens if token.number != number]
    return replace(state, tokens=[*others, Token(number=number, returns_at=returns_at)])


@dataclass(frozen=True)
class Fate:
    """How long a request is under way, when in that time the server counts it, and what comes back."""

    latency: float
    share: float
    answer: str  # settled, error, lost


FATES = st.builds(
    Fate,
    latency=st.floats(0.001, 60),
    share=st.floats(0, 1),
    answer=st.sampled_from(["settled", "settled", "settled", "error", "lost"]),
)


def counted_moments(fates: list[Fate], pauses: list[float], limit: Limit, timeout: float) -> list[float]:
    """When a server counts greedy requests, each with its fate, paced by the bucket."""
    state, now, counted = full(limit), NOW, []
    for fate, pause in zip(fates, pauses, strict=True):
        now += pause
        while not isinstance((outcome := bucket.decide(state, NORMAL, limit, now).outcome), Go):
            assert outcome.until is not None
            now = max(now, outcome.until)
        lost = timeout + limit.grace
        returns_at, counted_at = bucket.pessimistic_return(limit, timeout, now), now + fate.share * lost
        if fate.answer == "settled":
            counted_at = now + fate.share * fate.latency
            returns_at = bucket.settled_return(limit, now + fate.latency)
        elif fate.answer == "error":  # a gateway answered; the origin may count until the grace is over
            counted_at = now + fate.share * lost
        counted.append(counted_at)
        state = with_token(state, outcome.token, returns_at)
    return sorted(counted)


@given(
    st.lists(st.tuples(FATES, st.just(0.0) | SECONDS), min_size=12, max_size=60),
    st.sampled_from([Pace.BURST, Pace.EVEN]),
)
def test_no_window_of_any_alignment_counts_more_than_the_limit(
    plan: list[tuple[Fate, float]], pace: Pace
) -> None:
    """Whatever latencies, lost answers and pauses: any two counts six apart are at least a period apart."""
    limit = replace(LIMIT, pace=pace)
    moments = counted_moments([fate for fate, _ in plan], [pause for _, pause in plan], limit, timeout=60.0)
    for first, sixth in zip(moments, moments[LIMIT.snapshots :], strict=False):
        assert sixth - first >= limit.per - 1e-6


@given(st.integers(1, 5), st.integers(1, 60))
def test_a_prompt_server_is_used_as_early_as_the_limit_allows(use: int, count: int) -> None:
    """With answers in no time, group k goes out exactly k holds after the first."""
    limit = replace(LIMIT, use=use)
    moments = counted_moments([Fate(0.0, 0.0, "settled")] * count, [0.0] * count, limit, timeout=60.0)
    assert moments[-1] - moments[0] == ((count - 1) // use) * limit.hold


def test_an_even_pace_spreads_the_slots() -> None:
    """Between two grants lies at least the hold divided by the slots."""
    limit = replace(LIMIT, pace=Pace.EVEN)
    state = replace(full(), last_grant=NOW)
    assert wait(bucket.decide(state, NORMAL, limit, NOW + 1)).until == NOW + limit.hold / 5
    go(bucket.decide(state, NORMAL, limit, NOW + limit.hold / 5))


def test_a_smaller_use_leaves_the_higher_numbers_alone() -> None:
    """With `use: 2` only tokens 1 and 2 are granted, whatever the others do."""
    limit = replace(LIMIT, use=2)
    state = with_token(with_token(full(), 1, NOW + 5), 2, NOW + 9)
    assert wait(bucket.decide(state, NORMAL, limit, NOW)) == Wait(until=NOW + 5, reason=Reason.OWN_QUOTA)


def test_the_token_that_is_in_for_longest_goes_first() -> None:
    """Of several free tokens the one with the earliest return is granted, which leaves the most room for error."""
    state = full()
    for number, back in enumerate((5, 3, 4, 9, 8), start=1):
        state = with_token(state, number, NOW - back)
    assert go(bucket.decide(state, NORMAL, LIMIT, NOW)).token == 4


def test_nothing_due_waits_for_the_earliest_and_says_why() -> None:
    """Without a due task the wait ends when the first one becomes due."""
    demand = Demand(
        mine={Priority.BATCH: (NOW + 9, Reason.BACKOFF), Priority.NORMAL: (NOW + 60, Reason.WINDOW_NOT_OVER)}
    )
    assert wait(bucket.decide(full(), demand, LIMIT, NOW)) == Wait(until=NOW + 9, reason=Reason.BACKOFF)


# -- the first byte ------------------------------------------------------------------------------------------
def test_half_the_grace_after_the_grant_no_first_byte_leaves() -> None:
    """A slow connect or a suspended machine hands its grant back."""
    assert bucket.may_send(LIMIT, 60, granted_boot=NOW, now_boot=NOW + 14.9)
    assert not bucket.may_send(LIMIT, 60, granted_boot=NOW, now_boot=NOW + 15)
    assert bucket.may_send(replace(LIMIT, grace=0.0), 60, granted_boot=NOW, now_boot=NOW + 29)
    assert not bucket.may_send(replace(LIMIT, grace=0.0), 60, granted_boot=NOW, now_boot=NOW + 30)


# -- the gate ------------------------------------------------------------------------------------------------
def closed(times: int, *, jitter: float = 0.0) -> Gate:
    """The gate after so many refusals in a row, each to the probe of the one before."""
    gate, now = None, NOW
    for _ in range(times):
        gate = bucket.close_gate(gate, Closing(), LIMIT, granted_at=now, now=now, jitter=jitter)
        assert gate is not None
        now = gate.until
    assert gate is not None
    return gate


def test_a_refusal_closes_the_gate_for_a_period_and_some_jitter() -> None:
    """Nothing goes out until then, and then one probe and no more."""
    gate = bucket.close_gate(None, Closing(), LIMIT, granted_at=NOW, now=NOW, jitter=0.5)
    assert gate == Gate(closed_at=NOW, until=NOW + 300 * 1.025)
    state = replace(full(), gate=gate)
    assert wait(bucket.decide(state, NORMAL, LIMIT, NOW + 1)) == Wait(
        until=gate.until, reason=Reason.FOREIGN_QUOTA
    )
    assert go(bucket.decide(state, NORMAL, LIMIT, gate.until)).probe
    probing = replace(state, gate=replace(gate, probe_until=gate.until + 90))
    assert wait(bucket.decide(probing, NORMAL, LIMIT, gate.until)) == Wait(
        until=None, reason=Reason.FOREIGN_QUOTA
    )


def test_three_closings_in_a_row_double_the_wait_up_to_four_periods() -> None:
    """W, W, 2 W, 2 W, 2 W, then 4 W for good."""
    waits = [closed(times).until - closed(times).closed_at for times in (1, 2, 3, 5, 6, 30)]
    assert waits == [300, 300, 600, 600, 1200, 1200]


def test_a_refusal_of_an_older_request_changes_nothing() -> None:
    """Five requests that were refused together close the gate once."""
    gate = closed(1)
    assert bucket.close_gate(gate, Closing(), LIMIT, granted_at=NOW - 1, now=NOW + 1, jitter=0.9) == gate


def test_an_exact_time_replaces_the_period_and_does_not_count_towards_doubling() -> None:
    """A Retry-After or the general limit's Reset is exact."""
    gate = bucket.close_gate(
        closed(2), Closing(seconds=40, doubles=False), LIMIT, granted_at=NOW + 900, now=NOW + 900, jitter=0
    )
    assert gate is not None
    assert (gate.until, gate.closings) == (NOW + 940, 2)


def test_an_answered_probe_opens_the_gate_and_a_lost_one_lets_another_try() -> None:
    """Only an answer says that there is quota again."""
    probing = replace(closed(1), probe_until=NOW + 400)
    assert bucket.gate_after_probe(probing, answered=True) is None
    assert bucket.gate_after_probe(probing, answered=False) == replace(probing, probe_until=None)


# -- whose turn ----------------------------------------------------------------------------------------------
BATCH = {Priority.BATCH: (0.0, Reason.OWN_QUOTA)}
INCIDENT = {Priority.INCIDENT: (0.0, Reason.OWN_QUOTA)}
STARVED = {Priority.BATCH: NOW - 3 * LIMIT.per}


def test_a_run_yields_to_a_higher_class_of_another_run() -> None:
    """A batch run gets nothing while an incident has due tasks, and the time since then is remembered."""
    decision = bucket.decide(full(), Demand(mine=BATCH, others=[Priority.INCIDENT]), LIMIT, NOW)
    assert wait(decision) == Wait(until=NOW + 900, reason=Reason.OTHER_RUN)
    assert decision.held == {Priority.BATCH: NOW}


def test_a_starved_class_gets_one_grant_and_then_waits_again() -> None:
    """After three periods without a grant a lower class gets one, and only one."""
    state, demand = replace(full(), held=STARVED), Demand(mine=BATCH, others=[Priority.INCIDENT])
    decision = bucket.decide(state, demand, LIMIT, NOW)
    assert go(decision).priority is Priority.BATCH
    assert decision.held == {Priority.BATCH: NOW}
    wait(bucket.decide(replace(state, held=decision.held), demand, LIMIT, NOW))


def test_the_higher_run_leaves_the_last_token_to_a_starved_class_for_a_while() -> None:
    """Otherwise the faster process would take it every time; a process that hangs does not hold it for ever."""
    demand = Demand(mine=INCIDENT, others=[Priority.BATCH])
    state = replace(full(), held=STARVED)
    assert go(bucket.decide(state, demand, LIMIT, NOW)).priority is Priority.INCIDENT
    for number in (1, 2, 3, 4):
        state = with_token(state, number, NOW + 100)
    assert wait(bucket.decide(state, demand, LIMIT, NOW)).reason is Reason.OTHER_RUN
    go(bucket.decide(state, demand, LIMIT, NOW + 10 * LIMIT.poll))


def test_within_one_run_the_higher_class_goes_first_and_the_lower_one_is_not_starved() -> None:
    """The same rule holds for the classes of one run."""
    demand = Demand(mine={**BATCH, **INCIDENT})
    assert go(bucket.decide(full(), demand, LIMIT, NOW)).priority is Priority.INCIDENT
    assert go(bucket.decide(replace(full(), held=STARVED), demand, LIMIT, NOW)).priority is Priority.BATCH


def test_a_class_that_nothing_holds_back_any_more_is_forgotten() -> None:
    """Being held back starts anew when the higher class returns."""
    assert bucket.decide(replace(full(), held=STARVED), Demand(mine=BATCH), LIMIT, NOW).held == {}


# -- another boot --------------------------------------------------------------------------------------------
@given(hold=st.integers(1, 400), moved=st.integers(-10_000, 10_000), ahead=st.integers(-5, 5))
def test_after_a_reboot_a_token_is_in_only_if_the_calendar_proves_it(
    hold: int, moved: int, ahead: int
) -> None:
    """It must have moved on by the hold and ten minutes and not be behind the last time stored."""
    wall = 1e9 + moved
    back = bucket.return_after_reboot(
        hold=hold, written_wall=1e9, last_wall=wall + ahead, wall=wall, now=NOW, full_hold=301.0
    )
    proved = ahead <= 0 and moved >= hold + 600
    assert back == (bucket.IN_SINCE_EVER if proved else NOW + max(301.0, hold))
