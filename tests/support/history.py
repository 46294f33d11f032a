"""A store with a long history, written by SQL that both databases have: a million tasks take seconds."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass

from orchestrator.core import Clock, Snapshot
from orchestrator.store import open_store
from orchestrator.store.history_sql import KEEP_COUNTS

NUMBERS = """
WITH RECURSIVE number (i) AS (SELECT CAST(:first AS BIGINT) UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :end)"""

# As many digits as a real key has, in no order, and no two alike: the factor is odd.
_KEY = "CAST(1000000000000000 + i * 2654435761 % 4294967296 AS TEXT)"

# Of each hundred tasks one has failed and one is uncertain; the runs are one a day, the last of them yesterday's.
TASKS = f"""
INSERT INTO task (key, base_key, generation, organization, account_group, test_id, test_name, window_start, window_end,
    is_public, display_name, ready_at, status, attempt, tries, lease_key, lease_run, lease_limit, lease_timeout, lease_token,
    granted_at, evidence_at, queued_wall, granted_wall, sent_wall, settled_wall, settled_at, http_status, problem,
    snapshot_id, event_id, snapshot)
{NUMBERS}, made (i, run, status, past) AS (
    SELECT i, i / :tasks, CASE i % 100 WHEN 0 THEN 'failed' WHEN 1 THEN 'uncertain' ELSE 'created' END,
        (:runs - i / :tasks) * 86400.0 - i % :tasks
    FROM number)
SELECT {_KEY}, {_KEY}, 0, 1 + i % :organizations, '1234', CAST(200000 + i % :tasks / :organizations AS TEXT),
    'Checkout', 1600000000 + 86400 * run, 1600003600 + 86400 * run, 0, 'Checkout [{{key}}]', 0, status, 1, 1, {_KEY},
    'h' || CAST(run AS TEXT), :limit, 60, 1, :now - past, :now - past + 90, :wall - past, :wall - past, :wall - past,
    :wall - past, :now - past, 201, NULL, CASE status WHEN 'created' THEN 's' || CAST(i AS TEXT) END,
    CASE status WHEN 'created' THEN '9' || CAST(i AS TEXT) END, CASE status WHEN 'created' THEN :snapshot END
FROM made"""  # noqa: S608 - values are bound

RUN_TASKS = f"""
INSERT INTO run_task (run, position, task, organization, priority, kind, phase, until, job_name, on_uncertain)
{NUMBERS}
SELECT 'h' || CAST(i / :tasks AS TEXT), i % :tasks, i + 1, 1 + i % :organizations, 2, '1234/0', 4,
    :now - (:runs - i / :tasks) * 86400.0 + i % :tasks, 'all', 'hold' FROM number"""  # noqa: S608 - values are bound

RUNS = f"""
INSERT INTO run (id, job, files, created_at, state, tasks)
{NUMBERS}
SELECT 'h' || CAST(i AS TEXT), 'nightly', '[]', :wall - (:runs - i) * 86400.0, 'finished', :tasks FROM number"""  # noqa: S608 - values are bound

RUN_ORGANIZATIONS = f"""
INSERT INTO run_organization (run, organization, name)
{NUMBERS}
SELECT 'h' || CAST(i / :organizations AS TEXT), 1 + i % :organizations,
    'customer-' || CAST(1 + i % :organizations AS TEXT) FROM number"""  # noqa: S608 - values are bound


SNAPSHOT = json.dumps(asdict(Snapshot(id="s", link="https://app.example.com/share/s", saved_event=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LongHistory:
    """The size of a history: so many runs of so many tasks, which so many organizations share."""

    runs: int = 750
    tasks: int = 2_000
    organizations: int = 100

    def fill(self, url: str, base_url: str, clock: Clock) -> None:
        """Write it into a new store, for the organizations of the server with this base URL."""
        with closing(open_store(url, clock=clock)) as store:
            for number in range(1, self.organizations + 1):
                store.organizations.join(base_url, f"customer-{number}", f"{number}")
            common = {**asdict(self), "now": store.now(), "wall": store.epoch(), "first": 0}
            with store._database.write() as tx:
                tx.change(TASKS, **common, limit="{}", snapshot=SNAPSHOT, end=self.runs * self.tasks)
                tx.change(RUN_TASKS, **common, end=self.runs * self.tasks)
                tx.change(RUNS, **common, end=self.runs)
                tx.change(RUN_ORGANIZATIONS, **common, end=self.runs * self.organizations)
                for number in range(self.runs):
                    tx.change(KEEP_COUNTS, run=f"h{number}")
                tx.refresh_statistics()
