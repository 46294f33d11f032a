"""Three ways to keep 5 in 300 s, against a server that counts at any moment between a request and its answer.

The figures of docs/decisions/0001-token-returns-after-the-answer.md: `python scripts/three_buckets.py`.
It shares no code with the program.
"""

from __future__ import annotations

import heapq
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

SLOTS, PERIOD, GUARD, TASKS = 5, 300.0, 1.0, 200
BOUND = (TASKS - 1) // SLOTS * (PERIOD + GUARD)
"""Seconds from the first grant to the last one, if every answer came at once."""

Latency = Callable[[], float]
Sent = tuple[float, float]  # when, and when its answer was seen


def textbook(latency: Latency) -> Iterator[Sent]:
    """Capacity 5, and a token more every 60 s."""
    level, before = float(SLOTS), 0.0
    for _ in range(TASKS):
        at = before + max(0.0, 1.0 - level) * PERIOD / SLOTS
        level = min(float(SLOTS), level + (at - before) * SLOTS / PERIOD) - 1.0
        before = at
        yield at, at + latency()


def sending_times(latency: Latency) -> Iterator[Sent]:
    """A log of the last five sending times; the guard is added here, too."""
    sent: list[float] = []
    for _ in range(TASKS):
        sent.append(sent[-SLOTS] + PERIOD + GUARD if len(sent) >= SLOTS else 0.0)
        yield sent[-1], sent[-1] + latency()


def after_the_answer(latency: Latency) -> Iterator[Sent]:
    """Five tokens, each back one period and the guard after its answer."""
    tokens = [0.0] * SLOTS
    for _ in range(TASKS):
        at = heapq.heappop(tokens)
        seen = at + latency()
        heapq.heappush(tokens, seen + PERIOD + GUARD)
        yield at, seen


def most_in_a_window(counted: list[float]) -> int:
    """The most of them that stand within less than a period, wherever it begins."""
    counted.sort()
    first, most = 0, 0
    for last, at in enumerate(counted):
        while counted[first] <= at - PERIOD:
            first += 1
        most = max(most, last - first + 1)
    return most


RULES = {
    "bucket of 5, one more every 60 s": textbook,
    "log of five sending times": sending_times,
    "one period after the answer": after_the_answer,
}
LATENCIES = {"0.01 to 0.03 s": (0.01, 0.03), "5 to 30 s": (5.0, 30.0)}


def row(name: str, words: str, seeds: int) -> str:
    """One rule at one latency, over all seeds."""
    mosts, ratios = [], []
    for seed in range(seeds):
        draw = Random(seed)
        sent = list(RULES[name](partial(draw.uniform, *LATENCIES[words])))
        mosts.append(most_in_a_window([draw.uniform(at, seen) for at, seen in sent]))
        ratios.append(max(at for at, _ in sent) / BOUND)
    over = sum(most > SLOTS for most in mosts)
    return f"| {name} | {words} | {max(mosts)} | {over} of {seeds} | {statistics.mean(ratios):.4f} |"


def main() -> None:
    """Print a table over so many seeds (400)."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"{seeds} seeds of {TASKS} snapshots; the bound is {BOUND:,.0f} s")
    print("| rule | latency | most in a window | runs over the limit | last grant / bound |")
    print("|---|---|---|---|---|")
    for name in RULES:
        for words in LATENCIES:
            print(row(name, words, seeds))


if __name__ == "__main__":
    main()
