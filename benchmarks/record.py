"""One record on its way to a file, beside `json.dumps` of it alone: with a few tokens to hide, and with very many."""

from __future__ import annotations

import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from io import BufferedWriter
from pathlib import Path
from random import Random

from benchmarks.probe import measured
from benchmarks.row import Row, milliseconds
from orchestrator.core.clock import SystemClock
from orchestrator.core.jobs import Window
from orchestrator.core.redact import hide
from orchestrator.core.tasks import Result, Snapshot, Status, Task
from orchestrator.output.formats import Format, Output, make_writer
from orchestrator.output.records import snapshot_record
from orchestrator.output.streams import CleanText, Outlet

RECORDS = 5_000
ROUNDS = 5
RUN_ID = "k7f2"
TOKENS = (10, 10_000)
START = 1_795_183_200  # 2026-11-20T14:00:00Z


def rows(folder: Path) -> Iterator[Row]:
    """CPU of a record, from what the store knows to the line in the file."""
    dumps = measured("record.dumps")
    costs = [measured("record.cost", folder / "records.jsonl", tokens) for tokens in TOKENS]
    for tokens, cost in zip(TOKENS, costs, strict=True):
        name = f"one record into a file, {tokens:,} tokens hidden"
        yield Row(name=name, figure=milliseconds(cost), ratio=cost / dumps, to="`json.dumps` of it")
    figure, ratio = milliseconds(costs[-1]), costs[-1] / costs[0]
    yield Row(name=name, figure=figure, ratio=ratio, to=f"{TOKENS[0]} tokens hidden", target="about 1")


def probe_cost(path: str, tokens: str) -> float:
    """CPU seconds of a record."""
    chance = Random(0)
    for _ in range(int(tokens)):
        hide(str(uuid.UUID(int=chance.getrandbits(128))))
    result = _result()
    with Path(path).open("wb") as file:
        stdout = CleanText(BufferedWriter(Outlet(file.fileno(), lambda: False)), encoding="utf-8")
        writer = make_writer(
            Output(stdout=stdout, stderr=sys.stderr, clock=SystemClock(), format=Format.JSONL)
        )
        return _median(lambda: writer.write_result(result, RUN_ID))


def probe_dumps() -> float:
    """CPU seconds of `json.dumps` of it."""
    record = snapshot_record(_result(), run_id=RUN_ID, show_links=True)
    return _median(lambda: json.dumps(record))


def _median(act: Callable[[], object]) -> float:
    return statistics.median(_seconds(act) for _ in range(ROUNDS))


def _seconds(act: Callable[[], object]) -> float:
    before = time.process_time()
    for _ in range(RECORDS):
        act()
    return (time.process_time() - before) / RECORDS


def _result() -> Result:
    task = Task(
        organization="https://api.thousandeyes.com/v7#id=1234",
        organization_name="customer-17",
        account_group="1234",
        test_id="202701",
        window=Window(start=START, end=START + 7200),
        is_public=False,
        test_name="Checkout EU",
        display_name="Checkout EU 2026-11-20T14:00:00Z +2h [9b1f0c2d]",
        job_name="checkout",
    )
    link = f"https://app.eu1.thousandeyes.com/share/{uuid.UUID(int=1)}?accountId=1234"
    return Result(
        task=task,
        status=Status.CREATED,
        snapshot=Snapshot(id="wdiac", link=link, saved_event=True),
        http_status=201,
        attempts=1,
        queued_wall=START + 100.0,
        sent_wall=START + 101.26,
        settled_wall=START + 102.5,
    )
