"""Servers whose lists of tests are not as ours: saved events dated otherwise, and answers that are no list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.simulator import Reply, Simulator, World
from orchestrator.simulator.api import Exchange

COPIED = "2024-03-01T09:00:00Z"
"""The date of a test that was configured long ago, on the saved events that are made of it, too."""


class ChangingLists(Simulator):
    """A server that answers `GET /tests` with what `change` makes of its reply; `begun` counts from the first list."""

    def __init__(self, world: World, change: Callable[[Reply, int], Reply], **settings: Any) -> None:
        super().__init__(world, **settings)
        self._change, self.lists = change, 0

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        """The reply, changed."""
        reply = super().process(exchange, at)
        request = exchange.request
        if reply is None or (request.method, request.path) != ("GET", "/v7/tests"):
            return reply
        self.lists += 1
        return self._change(reply, self.lists)


def date_saved_events(date: str | None) -> Callable[[Reply, int], Reply]:
    """All saved events have this date, or (None) none."""

    def change(reply: Reply, _: int) -> Reply:
        content: Any = reply.json()
        tests = [_dated(test, date) if test["savedEvent"] else test for test in content["tests"]]
        return replace(reply, body=json.dumps({**content, "tests": tests}).encode())

    return change


def answer_later_lists(**changes: Any) -> Callable[[Reply, int], Reply]:
    """The first list is answered as it should be; the later ones have another status, body or headers."""

    def change(reply: Reply, lists: int) -> Reply:
        return reply if lists == 1 else replace(reply, **changes)

    return change


def _dated(test: Mapping[str, Any], date: str | None) -> dict[str, Any]:
    kept = {key: value for key, value in test.items() if key != "createdDate"}
    return kept if date is None else {**kept, "createdDate": date}
