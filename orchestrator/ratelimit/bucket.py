"""The token bucket of one organization, and the gate that a 429 closes: pure arithmetic on a state and a time.

An organization has 5 tokens. A token is out from the moment it is granted until one period and a guard
after the *answer* to its request was seen; until then its return is the pessimistic one that was written
at the grant. Two uses of one token are therefore counted by the server at least a period apart, in any
window of any alignment, and nobody can do better (docs/decisions/0001-token-returns-after-the-answer.md).

All times here are store time: seconds of which only differences mean anything.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from orchestrator.core import Closing, Limit, Pace, Priority, Reason

STARVED_PERIODS = 3
"""A lower class that was held back for this many periods without a grant gets one."""

GATE_JITTER = 0.05
"""A gate closed for periods stays closed up to this fraction longer, so that many stores do not probe at once."""

LONGEST_GATE = 4
"""Repeated closings double the wait up to this many periods."""

CLOSINGS_TO_DOUBLE = 3
"""So many closings in a row, and the wait doubles."""

SEARCH_SHARE = 4 / 3
"""The longest search for evidence, in `T + G`: 2 min at the usual 60 s and 30 s."""

REBOOT_MARGIN = 600.0
"""After a reboot only the calendar is left to compare: it must have moved on by this much more."""

IN_SINCE_EVER = 0.0
"""The return time of a token that was never out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One of an organization's tokens, numbered from 1: out until `returns_at`."""

    number: int
    returns_at: float = IN_SINCE_EVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A closed gate: since when, until when, after how many closings in a row, and until when a probe is out.

    A probe whose process hangs lapses when its request can no longer be carried out.
    """

    closed_at: float
    until: float
    closings: int = 1
    probe_until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """All that is known of an organization's quota at one moment.

    `held` is since when a class of tasks has been held back by a higher one, `last_limit` the settings of
    the last grant: what a run that only looks can show.
    """

    tokens: Sequence[Token]
    gate: Gate | None = None
    last_grant: float | None = None
    held: Mapping[Priority, float]
    last_limit: Limit | None = None


class Demand(NamedTuple):
    """The demand for an organization's tokens.

    `mine`: when the earliest task of each class of the asking run is due, and why it is not before.
    `others`: the classes that other live runs, able to send, have due tasks of.
    """

    mine: Mapping[Priority, tuple[float, Reason]]
    others: Collection[Priority] = ()


class Go(NamedTuple):
    """A grant: this token, to a task of this class; `probe` is the single try after a refusal."""

    token: int
    priority: Priority
    probe: bool = False


class Wait(NamedTuple):
    """No grant before `until` (store time; None: it depends on others), and why."""

    until: float | None
    reason: Reason


class Decision(NamedTuple):
    """A grant or a wait, and what is to be remembered about classes held back."""

    outcome: Go | Wait
    held: Mapping[Priority, float]


def decide(bucket: Bucket, demand: Demand, limit: Limit, now: float) -> Decision:
    """Say whether the asking run may make a request now, for a task of which class, or what it waits for."""
    held = _held_since(bucket.held, demand, now)
    outcome = _choose_outcome(bucket, demand, held, limit, now)
    if isinstance(outcome, Go) and outcome.priority in held:
        held = {**held, outcome.priority: now}
    return Decision(outcome=outcome, held=held)


def pessimistic_return(limit: Limit, timeout: float, granted_at: float) -> float:
    """When a token comes back if nothing is ever heard of its request: written before anything is sent."""
    return granted_at + timeout + limit.grace + limit.per


def settled_return(limit: Limit, seen_at: float) -> float:
    """When a token comes back whose request was answered."""
    return seen_at + limit.hold


def longest_hold(limit: Limit, timeout: float) -> float:
    """For how long a token is out at most, whatever becomes of its request."""
    return max(limit.hold, pessimistic_return(limit, timeout, 0.0))


def evidence_time(limit: Limit, timeout: float, granted_at: float) -> float:
    """From when on a request without an answer can no longer be carried out by the server."""
    return granted_at + timeout + limit.grace


def search_end(done_at: float, reach: float) -> float:
    """When a run stops to look for evidence at the latest: `done_at` is when nothing else was left of it.

    `reach` is how long after its grant a request may be carried out, `T + G`: after it at the latest there is
    something to see, and the rest is for lists that cannot be read at first.
    """
    return done_at + SEARCH_SHARE * reach


def may_send(limit: Limit, timeout: float, granted_boot: float, now_boot: float) -> bool:
    """True if the first byte may still leave: half the grace after the grant it may not.

    Without a grace the attempt's own deadline takes its place.
    """
    return now_boot - granted_boot < (limit.grace or timeout) / 2


def close_gate(
    gate: Gate | None, closing: Closing, limit: Limit, *, granted_at: float, now: float, jitter: float
) -> Gate | None:
    """The gate after a 429, with `jitter` in [0, 1); a 429 to a request granted before it closed changes nothing."""
    if gate is not None and granted_at < gate.closed_at:
        return gate
    before = gate.closings if gate else 0
    closings = before + 1 if closing.doubles else before
    seconds = closing.seconds  # what the server said is exact; our own guess is spread
    if seconds is None:
        seconds = limit.per * _wait_factor(closings) * (1 + GATE_JITTER * jitter)
    return Gate(closed_at=now, until=now + seconds, closings=closings)


def gate_after_probe(gate: Gate | None, *, answered: bool) -> Gate | None:
    """The gate after its probe came back without a 429: open if it was answered, else probed again."""
    if gate is None or answered:
        return None
    return replace(gate, probe_until=None)


def return_after_reboot(
    *, hold: float, written_wall: float, last_wall: float, wall: float, now: float, full_hold: float
) -> float:
    """When a token returns that was written under another boot: only the calendar can be compared.

    It is in when the wall clock has moved on by its hold and ten minutes and is not behind the last one
    stored; otherwise one full hold from this first look, or its own where that is longer: a request without
    an answer may still be carried out.
    """
    if wall >= last_wall and wall >= written_wall + hold + REBOOT_MARGIN:
        return IN_SINCE_EVER
    return now + max(full_hold, hold)


def _wait_factor(closings: int) -> int:
    return min(LONGEST_GATE, 1 << (closings // CLOSINGS_TO_DOUBLE))


def _due(demand: Demand, now: float) -> frozenset[Priority]:
    return frozenset(p for p, (due, _) in demand.mine.items() if due <= now)


def _held_since(before: Mapping[Priority, float], demand: Demand, now: float) -> Mapping[Priority, float]:
    """Since when each class with due tasks has had a higher class with due tasks before it."""
    wanted = _due(demand, now) | frozenset(demand.others)
    top = min(wanted, default=None)
    return {p: min(before.get(p, now), now) for p in wanted if p != top}


def _choose_outcome(
    bucket: Bucket, demand: Demand, held: Mapping[Priority, float], limit: Limit, now: float
) -> Go | Wait:
    due = _due(demand, now)
    if not due:
        when, why = min(demand.mine.values(), default=(math.inf, Reason.OTHER_RUN))
        return Wait(until=None if when == math.inf else when, reason=why)
    free = [t for t in bucket.tokens if t.number <= limit.usable and t.returns_at <= now]
    choice = _choose_class(due, frozenset(demand.others), held, limit, free=len(free), now=now)
    if isinstance(choice, Wait):
        return choice
    if bucket.gate is not None and bucket.gate.until > now:
        return Wait(until=bucket.gate.until, reason=Reason.FOREIGN_QUOTA)
    if bucket.gate is not None and (bucket.gate.probe_until or now) > now:
        return Wait(until=None, reason=Reason.FOREIGN_QUOTA)
    earliest = _token_time(bucket, limit, free)
    if earliest > now:
        return Wait(until=earliest, reason=Reason.OWN_QUOTA)
    token = min(free, key=lambda t: (t.returns_at, t.number))
    return Go(token=token.number, priority=choice, probe=bucket.gate is not None)


def _token_time(bucket: Bucket, limit: Limit, free: Sequence[Token]) -> float:
    """When the next token may be granted: one is in, and with an even pace the last grant is long enough ago."""
    usable = [t.returns_at for t in bucket.tokens if t.number <= limit.usable]
    earliest = IN_SINCE_EVER if free else min(usable, default=math.inf)
    if limit.pace is Pace.EVEN and bucket.last_grant is not None:
        earliest = max(earliest, bucket.last_grant + limit.hold / limit.usable)
    return earliest


def _choose_class(
    due: frozenset[Priority],
    others: frozenset[Priority],
    held: Mapping[Priority, float],
    limit: Limit,
    *,
    free: int,
    now: float,
) -> Priority | Wait:
    """The class whose turn it is: a starved one first, then the highest; a run yields to others' higher classes.

    For a starved class of another run one token is left aside, for a short while only: its process
    looks at the store at least every poll, and one that hangs must not hold back an incident.
    """
    starved = [p for p in sorted(held) if held[p] + STARVED_PERIODS * limit.per <= now]
    mine = [p for p in starved if p in due]
    if mine:
        return mine[0]
    patience = STARVED_PERIODS * limit.per + 10 * limit.poll
    set_aside = sum(1 for p in starved if p in others and now < held[p] + patience)
    top = min(due)
    if set_aside and free <= set_aside:
        return Wait(until=None, reason=Reason.OTHER_RUN)
    if others and min(others) < top:
        return Wait(until=held[top] + STARVED_PERIODS * limit.per, reason=Reason.OTHER_RUN)
    return top
