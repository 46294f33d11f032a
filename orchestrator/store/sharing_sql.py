"""The SQL of who shares a bucket, and of organizations that turn out to be one; written as in `orchestrator.store.sql`."""

from __future__ import annotations

# -- two organizations become one --------------------------------------------------------------------------

TASKS_OF = "SELECT * FROM task WHERE organization = :organization ORDER BY base_key, generation"

LOCK_TASKS = "SELECT * FROM task WHERE id = ANY(:tasks) ORDER BY id FOR UPDATE"

GENERATIONS = "SELECT * FROM task WHERE base_key = :base_key"

# With the key its name becomes another one, of which the list said nothing.
MOVE_TASK = """
UPDATE task SET organization = :organization, key = :key, base_key = :base_key, generation = :generation,
    listed = NULL, listed_at = NULL
WHERE id = :id"""

REPOINT = """
UPDATE run_task SET task = :kept, phase = :phase, until = :until
WHERE task = :dropped AND run NOT IN (SELECT run FROM run_task WHERE task = :kept)"""

DROP_RUN_TASKS = "DELETE FROM run_task WHERE task = :task"

RECOUNT = """
UPDATE run SET tasks = (SELECT COUNT(*) FROM run_task t WHERE t.run = run.id)
WHERE id IN (SELECT run FROM run_organization WHERE organization = :organization)"""

DROP_PROBE = """
UPDATE bucket SET gate_probe_task = NULL, gate_probe_attempt = NULL
WHERE id = :bucket AND gate_probe_task = :task"""

DROP_TASK = "DELETE FROM task WHERE id = :task"

FLAG_DUPLICATE = "UPDATE task SET duplicate_possible = 1 WHERE id = :task"

MOVE_RUN_TASKS = "UPDATE run_task SET organization = :into WHERE organization = :organization"

MOVE_RUN_ORGANIZATIONS = """
INSERT INTO run_organization (run, organization, name)
SELECT run, CAST(:into AS BIGINT), name FROM run_organization WHERE organization = :organization
ON CONFLICT (run, organization) DO NOTHING"""

DROP_RUN_ORGANIZATIONS = "DELETE FROM run_organization WHERE organization = :organization"

MOVE_SERVING = """
INSERT INTO serving (organization, run, owner, refused, stopped, stopped_until)
SELECT CAST(:into AS BIGINT), run, owner, refused, stopped, stopped_until FROM serving WHERE organization = :organization
ON CONFLICT (organization, run, owner) DO UPDATE SET refused = excluded.refused, stopped = '', stopped_until = NULL
WHERE excluded.stopped = ''"""

DROP_SERVING = "DELETE FROM serving WHERE organization = :organization"

MOVE_IDENTITIES = "UPDATE identity SET organization = :into WHERE organization = :organization"

DROP_ORGANIZATION = "DELETE FROM organization WHERE id = :organization"

# -- who shares a bucket -----------------------------------------------------------------------------------

# Whoever changes who shares a bucket holds this lock before any other: two that name one sign see each other.
LOCK_SHARING = "SELECT digest_key FROM meta FOR UPDATE"

SET_DIGEST_KEY = "UPDATE meta SET digest_key = :digest_key"

ADD_SIGN = """
INSERT INTO sign (sign, organization, proved) VALUES (:sign, :organization, :proved)
ON CONFLICT (sign, organization) DO UPDATE SET proved = 1 WHERE excluded.proved = 1"""

KNOWN_SIGNS = "SELECT sign FROM sign WHERE organization = :organization AND proved >= :proved"

HOLDERS = "SELECT sign, organization, proved FROM sign WHERE sign = ANY(:signs)"

# By the id that was read, all that was known under the name is proved.
MOVE_SIGNS = """
INSERT INTO sign (sign, organization, proved)
SELECT sign, CAST(:into AS BIGINT), 1 FROM sign WHERE organization = :organization
ON CONFLICT (sign, organization) DO UPDATE SET proved = 1"""

DROP_SIGNS = "DELETE FROM sign WHERE organization = :organization"

DROP_UNPROVED = "DELETE FROM sign WHERE organization = :organization AND sign = ANY(:signs) AND proved = 0"

# One sign of two organizations means one bucket, unless both have proved that it is theirs: then they are two.
SHARING_BUCKETS = """
SELECT DISTINCT o.bucket FROM sign mine
    JOIN sign s ON s.sign = mine.sign AND (s.proved = 0 OR mine.proved = 0)
    JOIN organization o ON o.id = s.organization
WHERE mine.organization = :organization"""

MEMBERS = "SELECT id FROM organization WHERE bucket = :bucket ORDER BY id"

SIGNS_OF_MEMBERS = """
SELECT s.sign, s.organization, s.proved FROM organization o JOIN sign s ON s.organization = o.id
WHERE o.bucket = :bucket ORDER BY s.sign, s.proved, s.organization"""

BUCKET = """
SELECT b.*, p.evidence_at AS probe_until FROM bucket b
LEFT JOIN task p ON p.id = b.gate_probe_task AND p.attempt = b.gate_probe_attempt
WHERE b.id = :bucket"""

# The highest number stays, and a new one is higher: who waits for a bucket then goes on to a higher one, as all do.
MOVE_MEMBERS = "UPDATE organization SET bucket = :into WHERE bucket = :bucket"

# Of a class held back on both sides it counts since when it was first.
MOVE_HELD = """
INSERT INTO held (bucket, priority, since)
SELECT CAST(:into AS BIGINT), priority, since FROM held WHERE bucket = :bucket
ON CONFLICT (bucket, priority) DO UPDATE SET since = excluded.since
WHERE excluded.since < held.since"""

DROP_ALL_HELD = "DELETE FROM held WHERE bucket = :bucket"

DROP_BUCKET = "DELETE FROM bucket WHERE id = :bucket"

# More than either was: whoever compares with what it saw before sees a change.
RAISE_VERSION = """
UPDATE bucket SET version = 1 + (SELECT MAX(f.version) FROM bucket f WHERE f.id IN (:bucket, :into))
WHERE id = :into"""

COPY_BUCKET = """
INSERT INTO bucket (founder, version, last_grant, last_limit, gate_closed_at, gate_until, gate_closings, gate_wall)
SELECT CAST(:organization AS BIGINT), version, last_grant, last_limit, gate_closed_at, gate_until, gate_closings,
    gate_wall FROM bucket WHERE id = :bucket"""

COPY_TOKENS = """
INSERT INTO token (bucket, number, returns_at, written_at, written_wall, full_hold)
SELECT CAST(:into AS BIGINT), number, returns_at, written_at, written_wall, full_hold FROM token
WHERE bucket = :bucket"""

LATEST_BUCKET = "SELECT MAX(id) AS id FROM bucket WHERE founder = :organization"

MOVE_MEMBER = "UPDATE organization SET bucket = :bucket WHERE id = :organization"
