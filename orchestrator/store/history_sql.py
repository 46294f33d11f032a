"""The SQL that looks at many runs at once, or for one among them: each statement finds its rows by an index.

Nothing here reads a run's tasks but those that are asked for, however many runs there are in the store.
"""

from __future__ import annotations

# The latest run first; of those before a place in that order. The pair is compared as one, which both databases look up.
RUNS_BEFORE = """
SELECT * FROM run WHERE (created_at, id) < (:created_at, :id) AND planner IS NULL
ORDER BY created_at DESC, id DESC LIMIT :some"""

COUNT_BEFORE = """
SELECT COUNT(*) AS runs FROM (
    SELECT id FROM run WHERE (created_at, id) < (:created_at, :id) AND planner IS NULL
    ORDER BY created_at DESC, id DESC LIMIT :some) AS older"""

# By the bytes of the id: only in that order what begins alike stands together, whatever the language of the database.
RUNS_BEGINNING = """
SELECT id FROM run WHERE id COLLATE "C" >= :text AND id COLLATE "C" < :beyond AND planner IS NULL
ORDER BY id COLLATE "C" LIMIT :some"""

ORGANIZATIONS = """
SELECT r.run, COALESCE(NULLIF(r.name, ''), o.name) AS name
FROM run_organization r JOIN organization o ON o.id = r.organization WHERE r.run = ANY(:runs)"""

TOTALS = """
SELECT t.status, CASE WHEN t.lease_run = r.run THEN 1 ELSE 0 END AS here,
    CASE WHEN t.tries = 0 THEN 1 ELSE 0 END AS untried, COUNT(*) AS tasks
FROM run_task r JOIN task t ON t.id = r.task
WHERE r.run = :run GROUP BY t.status, here, untried"""

# What is not settled stands together in the index of a run's turns, in each of its organizations.
UNFINISHED = """
SELECT r.*, (
    SELECT COUNT(*) FROM run_organization o CROSS JOIN run_task q
    WHERE o.run = r.id AND q.run = o.run AND q.organization = o.organization AND q.phase IN (0, 1, 2, 3, 5)) AS pending
FROM run r WHERE r.state = 'active' AND r.job = :job ORDER BY r.created_at DESC, r.id DESC"""

# Who makes something of a run for whom just now, and by which settings that was granted last.
SERVED_LIMITS = """
SELECT o.identity, s.owner, b.last_limit
FROM serving s JOIN organization o ON o.id = s.organization JOIN bucket b ON b.id = o.bucket
WHERE b.last_limit IS NOT NULL
    AND (SELECT r.run FROM run_organization r WHERE r.run = s.run AND r.organization = s.organization) = s.run"""

# The counts of a run with nothing pending stay in its row, so that a list of runs counts no tasks.
KEEP_COUNTS = """
UPDATE run SET (created, existing, failed, refused, uncertain) = (
    SELECT
        SUM(CASE WHEN t.status = 'created' AND t.lease_run = r.run THEN 1 ELSE 0 END),
        SUM(CASE WHEN t.status = 'created' AND t.lease_run = r.run THEN 0 WHEN t.status = 'created' THEN 1 ELSE 0 END),
        SUM(CASE WHEN t.status = 'failed' THEN 1 ELSE 0 END),
        SUM(CASE WHEN t.status = 'failed' AND t.tries = 0 THEN 1 ELSE 0 END),
        SUM(CASE WHEN t.status = 'uncertain' THEN 1 ELSE 0 END)
    FROM run_task r JOIN task t ON t.id = r.task WHERE r.run = run.id)
WHERE id = :run"""

# A settled task changes: the runs that it belongs to are counted anew. This waits for whoever just ends one of them, and
# always in the same order, so that two who wait never wait for each other. A run whose plan is still being stored has no
# counts, and whoever stores it waits for locks that this has.
FORGET_COUNTS = """
UPDATE run SET created = NULL WHERE id IN (
    SELECT id FROM run WHERE id IN (SELECT r.run FROM run_task r WHERE r.task = :task) AND planner IS NULL
    ORDER BY id FOR UPDATE)"""

# When a later generation of the same snapshot was made is looked up with it.
MADE = """
SELECT t.*, o.identity, COALESCE(NULLIF(r.organization_name, ''), o.name) AS organization_name, (
    SELECT MAX(g.settled_wall) FROM task g
    WHERE g.base_key = t.base_key AND g.generation > t.generation AND g.status = 'created') AS made_again
FROM task t JOIN organization o ON o.id = t.organization
    LEFT JOIN run_task r ON r.task = t.id AND r.run = t.lease_run
WHERE t.status = 'created' AND t.settled_wall >= :since AND (t.settled_wall, t.id) < (:wall, :before)
ORDER BY t.settled_wall DESC, t.id DESC LIMIT :some"""
