"""Faults, by chance from a seed or by script.

A fault is written as its kind, with `-before` or `-after` where it matters whether the origin acted on
the request before it struck:

    foreign              somebody else takes every slot that is free just before this request: a true 429
    500 502 503 408 ...  any status, as a gateway answers it (default: before the origin)
    html                 a gateway's 502 in HTML
    reset                the connection is reset (default: after)
    hang                 nothing is answered (default: after)
    cut-head, cut-body   the answer ends in `HTTP/1.1 201 Crea`, or in the middle of its body
    drip                 the answer comes one byte a second
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ALWAYS_AFTER = frozenset({"foreign", "cut-head", "cut-body", "drip"})  # the origin has acted, or will
_AFTER_UNLESS_SAID = frozenset({"reset", "hang"})
_KINDS = _ALWAYS_AFTER | _AFTER_UNLESS_SAID | {"html"}
_FOREIGN_RATE = "foreign-rate"
_STATUS = re.compile(r"\d{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; `after` when the origin has acted on the request all the same."""

    kind: str
    after: bool

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `reset-before`, `500`, `502-after`; ValueError names what there is."""
        kind, after = text, None
        for ending, value in (("-before", False), ("-after", True)):
            if text.endswith(ending):
                kind, after = text.removesuffix(ending), value
        if kind not in _KINDS and not _STATUS.fullmatch(kind):
            raise ValueError(
                f"no fault is called {text!r}; there are {', '.join(sorted(_KINDS))}, or a status"
            )
        if kind in _ALWAYS_AFTER:
            return cls(kind, after=True)
        return cls(kind, after=kind in _AFTER_UNLESS_SAID if after is None else after)

    @property
    def status(self) -> int | None:
        """The status with which a gateway answers, if it does."""
        if self.kind == "html":
            return 502
        return int(self.kind) if self.kind.isdigit() else None

    @property
    def silent(self) -> bool:
        """True if not one byte is answered."""
        return self.kind in _AFTER_UNLESS_SAID

    def __str__(self) -> str:
        ending = "" if self.kind in _ALWAYS_AFTER else "-after" if self.after else "-before"
        return self.kind + ending


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """The faults of a run, and how often each strikes.

    `rates` gives each fault its share of the POSTs. `script` names the
    faults of the first POSTs in order, None for a good one; after its end the rates hold. `foreign_rate`
    is how many snapshots a second somebody else asks for in each organization, at random moments.
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    script: tuple[Fault | None, ...] = ()
    foreign_rate: float = 0.0

    def __post_init__(self) -> None:
        shares = self.rates.values()
        if not all(0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
            raise ValueError("the rates of faults are shares: none below zero, together at most 1")
        if not 0 <= self.foreign_rate < math.inf:
            raise ValueError("foreign_rate is requests a second: not below zero")

    def choose(self, method: str, nth_post: int, chance: float) -> Fault | None:
        """The fault of a request: POSTs count from 1, `chance` is uniform in [0, 1)."""
        if method != "POST":
            return None
        if nth_post <= len(self.script):
            return self.script[nth_post - 1]
        for fault, rate in self.rates.items():
            if chance < rate:
                return fault
            chance -= rate
        return None


def script_faults(faults: Iterable[str | None]) -> FaultPlan:
    """A plan from the faults of the first POSTs: `script_faults([None, "reset-after", "500"])`."""
    return FaultPlan(script=tuple(None if text is None else Fault.parse(text) for text in faults))


def parse_faults(text: str) -> FaultPlan:
    """Read `reset-after=0.02,500=0.05,foreign-rate=0.001`; `ordinary` is the usual mixture."""
    if text == "ordinary":
        return ordinary_faults()
    rates: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, rate = part.partition("=")
        try:
            rates[name] = float(rate)
        except ValueError:
            raise ValueError(f"{part!r} is no fault with its share: write reset-after=0.02") from None
    foreign = rates.pop(_FOREIGN_RATE, 0.0)
    return FaultPlan(rates={Fault.parse(name): rate for name, rate in rates.items()}, foreign_rate=foreign)


def ordinary_faults(share: float = 0.2) -> FaultPlan:
    """A bad day: this share of the POSTs fails, in every way but hanging and dripping."""
    names = (
        "foreign",
        "500",
        "502-after",
        "503",
        "html",
        "reset-before",
        "reset-after",
        "cut-head",
        "cut-body",
    )
    return FaultPlan(rates={Fault.parse(name): share / len(names) for name in names})


def foreign_moments(seed: int, organization: str, rate: float, start: float) -> Iterable[float]:
    """The endless moments at which somebody else asks: a Poisson process of its own seed."""
    chance = random.Random(f"{seed}/{organization}")
    moment = start
    while True:
        moment += chance.expovariate(rate)
        yield moment
