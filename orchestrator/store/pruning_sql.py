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

# -- starts of jobs ----------------------------------------------------------------------------------------

# The last start of each job that has ended, and the last one that made everything: metrics tell of both, and of their runs.
_TOLD_OF = """
(SELECT MAX(id) FROM job_start WHERE part = 0 AND ended_wall IS NOT NULL GROUP BY job
UNION SELECT d.id FROM job_start d WHERE d.part = 0 AND d.exit_code = 0 AND d.ended_wall = (
    SELECT MAX(e.ended_wall) FROM job_start e WHERE e.job = d.job AND e.part = 0 AND e.exit_code = 0))"""

# A run that somebody started lately is none of the old ones, whenever it was planned.
RUNS_OF_STARTS = f"""
SELECT run FROM job_start WHERE run IS NOT NULL AND (began_wall >= :before OR id IN {_TOLD_OF})"""  # noqa: S608 - values are bound

RUNS_OF_PARTS = "SELECT run FROM job_start WHERE run IS NOT NULL GROUP BY run HAVING MIN(part) = 1"

DROP_STARTS_OF = "DELETE FROM job_start WHERE run = :run"

OLD_STARTS = f"""
SELECT id FROM job_start
WHERE run IS NULL AND began_wall < :before AND job = COALESCE(CAST(:job AS TEXT), job) AND id NOT IN {_TOLD_OF}
ORDER BY id LIMIT :some"""  # noqa: S608 - values are bound

DROP_STARTS = "DELETE FROM job_start WHERE id = ANY(:starts)"
