"""The SQL by which runs are forgotten, some of their tasks at a time; written as in `orchestrator.store.sql`."""

from __future__ import annotations

# A run that a process has begun again meanwhile is active: it stays.
LOCK_ENDED = """
SELECT state FROM run WHERE id = :run AND planner IS NULL AND state IN ('finished', 'cancelled') FOR UPDATE"""

OF_RUN = """
SELECT t.*, r.position, o.identity, o.bucket, o.name AS organization_name
FROM run_task r JOIN task t ON t.id = r.task JOIN organization o ON o.id = t.organization
WHERE r.run = :run AND r.position > :after ORDER BY r.position LIMIT :some"""

# The highest number stays taken: SQLite would give it to the next task, and what names it may mean the one before.
UNREFERRED = """
SELECT t.id FROM task t
WHERE t.id = ANY(:tasks) AND NOT EXISTS (SELECT 1 FROM run_task r WHERE r.task = t.id)
  AND EXISTS (SELECT 1 FROM task m WHERE m.id > t.id)"""

DROP_TASKS = "DELETE FROM task WHERE id = ANY(:tasks)"

# The run that made it is not there to be looked at any more.
DISOWN = "UPDATE task SET lease_run = NULL WHERE id = ANY(:tasks) AND lease_run = :run AND status = 'created'"

SHRINK_RUN = "UPDATE run SET tasks = tasks - :dropped, created = NULL WHERE id = :run"

IS_EMPTY = "SELECT 1 AS empty WHERE NOT EXISTS (SELECT 1 FROM run_task WHERE run = :run)"
