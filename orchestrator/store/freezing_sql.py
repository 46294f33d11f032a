"""The SQL of a plan that is being stored, or removed again; written as in `orchestrator.store.sql`."""

from __future__ import annotations

from orchestrator.store import sql

ADD_RUN = """
INSERT INTO run (id, job, files, created_at, state, tasks, planner, left_out)
VALUES (:id, :job, :files, :created_at, 'planning', 0, :planner, :left_out) ON CONFLICT (id) DO NOTHING"""

PLANNED_RUNS = "SELECT id, planner FROM run WHERE planner IS NOT NULL"

LOCK_PLANNED = "SELECT id FROM run WHERE id = :run AND planner = :planner FOR UPDATE"

ADD_TO_RUN = "UPDATE run SET tasks = tasks + :tasks WHERE id = :run"

ACTIVATE_RUN = "UPDATE run SET state = 'active', planner = NULL WHERE id = :run"

NUMBERS = "SELECT key, id FROM task WHERE key = ANY(:keys)"

REFERRED_TASKS = "SELECT task FROM run_task WHERE run = :run AND task = ANY(:tasks)"

SOME_RUN_TASKS = """
SELECT r.task, o.bucket FROM run_task r JOIN organization o ON o.id = r.organization
WHERE r.run = :run ORDER BY r.position LIMIT :some"""

# Nobody else's, and never granted to anybody.
DROP_PLANNED_TASKS = """
DELETE FROM task WHERE id = ANY(:tasks) AND attempt = 0
  AND NOT EXISTS (SELECT 1 FROM run_task r WHERE r.task = task.id AND r.run <> :run)"""

DROP_REFERENCES = "DELETE FROM run_task WHERE run = :run AND task = ANY(:tasks)"

DROP_ORGANIZATIONS_OF_RUN = "DELETE FROM run_organization WHERE run = :run"

DROP_RUN = "DELETE FROM run WHERE id = :run"

TO_TAKE_UP = f"""{sql.TASK_COLUMNS}, r.afresh
FROM run_task r JOIN task t ON t.id = r.task JOIN organization o ON o.id = t.organization
WHERE r.run = :run AND r.afresh IS NOT NULL LIMIT :some"""

TAKEN_UP = "UPDATE run_task SET afresh = NULL WHERE run = :run AND task = ANY(:tasks)"

ADD_TASK = """
INSERT INTO task (key, base_key, generation, organization, account_group, test_id, test_name, window_start,
    window_end, is_public, display_name, ready_at, status, queued_wall, settled_wall, settled_at, problem, listed, listed_at)
VALUES (:key, :base_key, :generation, :organization, :account_group, :test_id, :test_name, :window_start,
    :window_end, :is_public, :display_name, :ready_at, :status, :queued_wall, :settled_wall, :settled_at, :problem,
    :listed, :listed_at)
ON CONFLICT (base_key, generation) DO NOTHING"""

# Only before the first grant of any generation: later a saved event of the name may be what a request has left.
NOTE_LISTED = """
UPDATE task SET listed = :listed, listed_at = :listed_at
WHERE id = :task AND generation = 0 AND granted_at IS NULL"""

NAME_TASK = "UPDATE task SET test_name = :test_name WHERE id = :task"

ADD_RUN_TASK = """
INSERT INTO run_task (run, position, task, organization, organization_name, priority, kind, phase, until,
    job_name, on_uncertain, expect_saved_event, unverified, afresh)
VALUES (:run, :position, :task, :organization, :organization_name, :priority, :kind, :phase, :until,
    :job_name, :on_uncertain, :expect_saved_event, :unverified, :afresh)
ON CONFLICT (task, run) DO NOTHING"""

ADD_RUN_ORGANIZATION = """
INSERT INTO run_organization (run, organization, name) VALUES (:run, :organization, :name)
ON CONFLICT (run, organization) DO UPDATE SET name = excluded.name"""

LOOK_AGAIN_AT = """
UPDATE task SET evidence_due = evidence_at
WHERE status = 'uncertain' AND evidence_due IS NULL AND id = ANY(:tasks)"""
