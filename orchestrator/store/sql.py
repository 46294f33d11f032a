"""All SQL of the queue, written once in what SQLite and PostgreSQL have in common.

Parameters are `:name`. Three idioms are PostgreSQL's and are put into its own words by SQLite's dialect:
`FOR UPDATE` (a SQLite transaction that writes excludes all others anyway), `= ANY(:list)` and `COLLATE "C"` (SQLite
compares bytes in any case).
"""

from __future__ import annotations

import functools

# -- what several statements share -------------------------------------------------------------------------

# A task as a run refers to it: what `rows.to_task` and `rows.to_result` read.
TASK_COLUMNS = """
SELECT t.*, r.run, r.position, r.priority, r.job_name, r.on_uncertain, r.expect_saved_event,
    r.unverified, o.identity, o.bucket,
    COALESCE(NULLIF(r.organization_name, ''), o.name) AS organization_name"""

TASK_OF_RUN = f"""{TASK_COLUMNS}
FROM run_task r JOIN task t ON t.id = r.task JOIN organization o ON o.id = t.organization"""

# -- organizations and their buckets -----------------------------------------------------------------------

# An organization comes with its bucket's gate, and the moment at which the gate's probe lapses.
_ORGANIZATION_COLUMNS = """
SELECT o.id, o.identity, o.name, o.bucket, b.last_grant, b.last_limit, b.gate_closed_at, b.gate_until,
    b.gate_closings, b.gate_wall, b.gate_probe_task, b.gate_probe_attempt, p.evidence_at AS probe_until"""

_WITH_BUCKET = """
JOIN bucket b ON b.id = o.bucket
LEFT JOIN task p ON p.id = b.gate_probe_task AND p.attempt = b.gate_probe_attempt"""

FIND_ORGANIZATION = f"""{_ORGANIZATION_COLUMNS}
FROM identity i JOIN organization o ON o.id = i.organization {_WITH_BUCKET}
WHERE i.identity = :identity"""

ORGANIZATION = f"""{_ORGANIZATION_COLUMNS}
FROM organization o {_WITH_BUCKET}
WHERE o.id = :organization"""

_ASKED = "SELECT o.bucket FROM identity i JOIN organization o ON o.id = i.organization WHERE i.identity = ANY(:identities)"

ORGANIZATIONS = f"""{_ORGANIZATION_COLUMNS}, i.identity AS asked
FROM identity i JOIN organization o ON o.id = i.organization {_WITH_BUCKET}
WHERE i.identity = ANY(:identities)"""

ASKED_BUCKETS = f"SELECT b.id FROM bucket b WHERE b.id IN ({_ASKED})"

# Only locks: what counts is read by later statements, which see what the lock was waited for. All who lock several do
# so in ascending order; who has many of them in one commit takes only those that are free.
LOCK_BUCKET = "SELECT id FROM bucket WHERE id = :bucket FOR UPDATE"

LOCK_BUCKETS = "SELECT id FROM bucket WHERE id = ANY(:buckets) ORDER BY id FOR UPDATE"

LOCK_ASKED = f"{ASKED_BUCKETS} ORDER BY b.id FOR UPDATE"

LOCK_ASKED_IF_FREE = f"{LOCK_ASKED} SKIP LOCKED"

ADD_ORGANIZATION = """
INSERT INTO organization (identity, name) VALUES (:identity, :name) ON CONFLICT (identity) DO NOTHING"""

ADD_BUCKET = """
INSERT INTO bucket (founder) SELECT id FROM organization WHERE identity = :identity AND bucket IS NULL"""

TAKE_BUCKET = """
UPDATE organization SET bucket = (SELECT MAX(b.id) FROM bucket b WHERE b.founder = organization.id)
WHERE identity = :identity AND bucket IS NULL"""

POINT_IDENTITY = """
INSERT INTO identity (identity, organization)
SELECT :identity, id FROM organization WHERE identity = :of
ON CONFLICT (identity) DO UPDATE SET organization = excluded.organization"""

RENAME_ORGANIZATION = "UPDATE organization SET name = :name WHERE id = :organization"

PRESENT_IDENTITIES = """
SELECT i.identity AS asked, o.identity FROM identity i JOIN organization o ON o.id = i.organization
WHERE i.identity = ANY(:identities)"""

BUCKETS = """
SELECT i.identity, o.bucket FROM identity i JOIN organization o ON o.id = i.organization
WHERE i.identity = ANY(:identities) ORDER BY o.id, i.identity"""

NAMES = "SELECT identity, name FROM organization ORDER BY id"

TOUCH_BUCKET = "UPDATE bucket SET version = version + 1 WHERE id = :bucket"

TOKENS_ASKED = f"SELECT * FROM token WHERE bucket IN ({_ASKED}) ORDER BY bucket, number"

HELD_ASKED = f"SELECT bucket, priority, since FROM held WHERE bucket IN ({_ASKED})"

TOKENS = "SELECT * FROM token WHERE bucket = :bucket ORDER BY number"

WRITE_RETURN = """
INSERT INTO token (bucket, number, returns_at, written_at, written_wall, full_hold, task, attempt)
VALUES (:bucket, :number, :returns_at, :written_at, :written_wall, :full_hold, :task, :attempt)
ON CONFLICT (bucket, number) DO UPDATE SET
    returns_at = excluded.returns_at, written_at = excluded.written_at,
    written_wall = excluded.written_wall, full_hold = excluded.full_hold,
    task = excluded.task, attempt = excluded.attempt"""

# Only the lease that holds a token changes its return, and only with the change of its task.
SHORTEN_RETURN = """
UPDATE token SET returns_at = :returns_at, written_at = :now, written_wall = :wall, task = NULL, attempt = NULL
WHERE bucket = :bucket AND task = :task AND attempt = :attempt
  AND EXISTS (SELECT 1 FROM task t WHERE t.id = :task AND t.attempt = :attempt AND t.status = :status)"""

# A clock that was set back: what is left of a wait counts from now, which is later than it would have ended.
TOKENS_AHEAD = """
UPDATE token SET returns_at = :now + (returns_at - written_at), written_at = :now
WHERE bucket = :bucket AND written_at > :now"""

GATE_AHEAD = """
UPDATE bucket SET gate_until = :now + (gate_until - gate_closed_at), gate_closed_at = :now
WHERE id = :bucket AND gate_closed_at > :now"""

# The clock is read once, not for each bucket; nearly always none is found.
GRANTED_AHEAD = """
SELECT o.identity FROM organization o
WHERE o.bucket IN (SELECT b.id FROM bucket b WHERE b.last_grant > (SELECT tesnap_now())) ORDER BY o.id"""

TASKS_AHEAD = """
UPDATE task SET granted_at = granted_at + :shift, first_sent_at = first_sent_at + :shift,
    retry_at = CASE WHEN retry_at > 0 THEN retry_at + :shift ELSE retry_at END,
    evidence_at = evidence_at + :shift, evidence_due = evidence_due + :shift
WHERE organization IN (SELECT o.id FROM organization o WHERE o.bucket = :bucket) AND granted_at > :now"""

TURNS_AHEAD = """
UPDATE run_task SET until = (
    SELECT CASE WHEN run_task.phase = 2 THEN t.retry_at ELSE t.evidence_due END FROM task t WHERE t.id = run_task.task)
WHERE organization IN (SELECT o.id FROM organization o WHERE o.bucket = :bucket) AND phase IN (2, 5)
  AND run IN (SELECT r.run FROM run_organization r WHERE r.organization = run_task.organization)"""

# A token is out for as long as it ever was, a full hold at least, counted from when it was written by the clock as it
# was before it gained. One whose request has no answer yet is out for longer: nobody knows how much of it is left.
# One that was given back may have been granted too early: of what it was out for before, nothing is known any more.
HOLD_TOKENS = """
UPDATE token SET
    returns_at = CASE WHEN written_at + :gained < :now THEN written_at + :gained ELSE :now END
        + CASE WHEN returns_at <= 0 THEN :longest
            WHEN returns_at - written_at > :hold THEN returns_at - written_at ELSE :hold END,
    written_at = CASE WHEN written_at + :gained < :now THEN written_at + :gained ELSE :now END,
    written_wall = :wall
WHERE bucket = :bucket"""

DROP_TOKENS = "DELETE FROM token WHERE bucket = :bucket"

HELD = "SELECT priority, since FROM held WHERE bucket = :bucket"

PUT_HELD = """
INSERT INTO held (bucket, priority, since) VALUES (:bucket, :priority, :since)
ON CONFLICT (bucket, priority) DO UPDATE SET since = excluded.since"""

DROP_HELD = "DELETE FROM held WHERE bucket = :bucket AND priority = :priority"

NOTE_GRANT = "UPDATE bucket SET last_grant = :now WHERE id = :bucket"

NOTE_LIMIT = "UPDATE bucket SET last_limit = :limit WHERE id = :bucket"

NOTE_LEASES = (
    "UPDATE bucket SET version = version + 1, last_grant = :now, last_limit = :limit WHERE id = :bucket"
)

SAVE_GATE = """
UPDATE bucket SET
    gate_closed_at = :closed_at, gate_until = :until, gate_closings = :closings, gate_wall = :wall,
    gate_probe_task = :probe_task, gate_probe_attempt = :probe_attempt
WHERE id = :bucket"""

# -- runs --------------------------------------------------------------------------------------------------

# A run whose plan is still being stored is none yet: only who stores it, or removes it, looks at it.
RUN = "SELECT * FROM run WHERE id = :run AND planner IS NULL"

SET_STATE = "UPDATE run SET state = :state WHERE id = :run"

LOCK_RUN = "SELECT id FROM run WHERE id = :run FOR UPDATE"

# A run ends with nothing of it to be sent: all of it is settled, which is phase 4.
FINISH_RUN = """
UPDATE run SET state = 'finished'
WHERE id = :run AND state = 'active'
  AND NOT EXISTS (SELECT 1 FROM run_task t WHERE t.run = run.id AND t.phase <> 4)"""

# Always writes, so that it waits for whoever ends the run at the same time, and sees how that ended.
REVIVE_RUN = """
UPDATE run SET state = CASE WHEN state = 'finished' THEN 'active' ELSE state END WHERE id = :run"""

LATEST_TASKS = """
SELECT t.*, o.identity, o.bucket, o.name AS organization_name FROM task t JOIN organization o ON o.id = t.organization
WHERE t.base_key = ANY(:keys)
  AND t.generation = (SELECT MAX(g.generation) FROM task g WHERE g.base_key = t.base_key)"""

RUN_ORGANIZATIONS = """
SELECT r.run, o.identity, COALESCE(NULLIF(r.name, ''), o.name) AS name
FROM run_organization r JOIN organization o ON o.id = r.organization WHERE r.run = :run ORDER BY o.id"""

LOOK_AGAIN = """
UPDATE task SET evidence_due = evidence_at
WHERE status = 'uncertain' AND evidence_due IS NULL
  AND id IN (SELECT task FROM run_task WHERE run = :run)"""

COUNTS = """
SELECT r.run, o.identity, t.status, CASE WHEN t.lease_run = r.run THEN 1 ELSE 0 END AS here,
    CASE WHEN t.tries = 0 THEN 1 ELSE 0 END AS untried, COUNT(*) AS tasks
FROM run_task r JOIN task t ON t.id = r.task JOIN organization o ON o.id = r.organization
WHERE r.run = :run GROUP BY r.run, o.identity, t.status, here, untried"""

RESULTS = f"""{TASK_OF_RUN}
WHERE r.run = :run AND r.position > :after ORDER BY r.position LIMIT :some"""

SETTLED_POSITIONS = """
SELECT position, until FROM run_task WHERE run = :run AND phase = 4 AND until >= :since ORDER BY position"""

RESULTS_AT = f"""{TASK_OF_RUN}
WHERE r.run = :run AND r.position = ANY(:positions) ORDER BY r.position"""

RUN_TASKS_IN = f"""{TASK_OF_RUN}
WHERE r.run = :run AND t.status = :status ORDER BY r.position"""

# Those that failed when they were sent: others were refused when they were planned, and are never sent.
FAILED_TASKS = f"""{TASK_OF_RUN}
WHERE r.run = :run AND t.status = 'failed' AND t.tries > 0 AND r.position > :after ORDER BY r.position LIMIT :some"""

VERSIONS = """
SELECT o.identity, b.version
FROM run_organization r JOIN organization o ON o.id = r.organization JOIN bucket b ON b.id = o.bucket
WHERE r.run = :run"""

# -- leases ------------------------------------------------------------------------------------------------

# One seek in the index run_task_turn for each phase and class of each organization, however many tasks wait.
EARLIEST = """
WITH class (phase, priority) AS (VALUES
    (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2),
    (5, 0), (5, 1), (5, 2))
SELECT i.identity AS asked, c.phase, c.priority, (
    SELECT q.until FROM run_task q
    WHERE q.run = :run AND q.organization = i.organization AND q.phase = c.phase AND q.priority = c.priority
      AND (q.phase = 3 OR NOT (q.kind = ANY(:without)))
    ORDER BY q.until LIMIT 1
) AS until FROM identity i CROSS JOIN class c WHERE i.identity = ANY(:identities)"""

RELEASE = """
UPDATE run_task SET phase = 0, until = 0
WHERE run = :run AND organization = :organization AND phase = :phase AND priority = :priority
  AND until <= :now"""

_READY = f"""{TASK_OF_RUN}
WHERE r.run = :run AND r.organization = (SELECT i.organization FROM identity i WHERE i.identity = :identity)
  AND r.phase = 0 AND NOT (r.kind = ANY(:without))"""

# By the index run_task_turn alone: `until` is 0 in this phase, and is named so that the order is the index's.
NEXT_TASKS = f"{_READY} ORDER BY r.priority, r.until, r.position LIMIT :some"

NEXT_OF_CLASS = f"{_READY} AND r.priority = :priority ORDER BY r.until, r.position LIMIT :some"

# Seeks in the index run_task_turn: what is settled is not read.
LEFT = """
SELECT i.identity, COUNT(*) AS tasks FROM identity i JOIN run_task r ON r.organization = i.organization
WHERE i.identity = ANY(:identities) AND r.run = :run AND r.phase IN (0, 1, 2, 3, 5) GROUP BY i.identity"""

COUNT_OPEN = """
SELECT COUNT(*) AS tasks FROM run_task r JOIN identity i ON i.organization = r.organization
WHERE r.run = :run AND i.identity = :identity AND r.phase <> 4 AND r.kind = :kind"""

# All that draw on the buckets but the asking run at the asking organizations.
_OTHERS = """
FROM identity i JOIN organization mine ON mine.id = i.organization JOIN organization o ON o.bucket = mine.bucket
    JOIN serving s ON s.organization = o.id JOIN run r ON r.id = s.run"""

_ABLE = """
WHERE i.identity = ANY(:identities) AND NOT (s.run = :run AND s.organization = mine.id)
  AND s.stopped = '' AND r.state = 'active'"""

LIVING_OTHERS = f"""
SELECT x.owner FROM (SELECT DISTINCT s.owner {_OTHERS} {_ABLE}) x WHERE is_alive(x.owner)"""

# As in EARLIEST one seek for each phase and class, of each of the others; `refused` is JSON, of kinds without escapes.
TURNS_OF_OTHERS = f"""
WITH class (phase, priority) AS (VALUES
    (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2))
SELECT i.identity AS asked, s.owner, c.phase, c.priority, (
    SELECT q.until FROM run_task q
    WHERE q.run = s.run AND q.organization = s.organization AND q.phase = c.phase AND q.priority = c.priority
      AND REPLACE(s.refused, '"' || q.kind || '"', '') = s.refused
    ORDER BY q.until LIMIT 1
) AS until {_OTHERS} CROSS JOIN class c {_ABLE}"""

# What a transition of a task reads: its fence, what its end depends on, and its bucket's gate.
LEASED_TASKS = f"""
SELECT t.id, t.key, t.organization, t.ready_at, t.status, t.attempt, t.tries, t.first_sent_at, t.retry_at, t.owner,
    t.lease_key, t.lease_run, t.lease_limit, t.granted_at, t.evidence_at, t.evidence_due, t.duplicate_possible,
    t.settled_at, o.bucket, b.gate_closed_at, b.gate_until, b.gate_closings, b.gate_probe_task, b.gate_probe_attempt,
    p.evidence_at AS probe_until
FROM task t JOIN organization o ON o.id = t.organization {_WITH_BUCKET}
WHERE t.lease_key = ANY(:keys)"""

LOCK_LEASED = """
SELECT b.id FROM bucket b WHERE b.id IN (
    SELECT o.bucket FROM task t JOIN organization o ON o.id = t.organization WHERE t.lease_key = ANY(:keys))
ORDER BY b.id FOR UPDATE"""

LOCK_LEASED_IF_FREE = f"{LOCK_LEASED} SKIP LOCKED"

# Without the bucket's lock, which a long batch might have: whoever ends a lease of another process says in the same
# way which state it saw, and undoes all if it was not that any more.
SEND_TASK = """
UPDATE task SET status = 'sending', first_sent_at = COALESCE(first_sent_at, tesnap_now()), sent_wall = tesnap_epoch()
WHERE lease_key = :key AND owner = :owner AND attempt = :attempt AND status IN ('leased', 'sending')"""

# A key may have gone to another task since: the one that it was granted under comes first.
LEASED_TASK = """
SELECT t.*, o.bucket FROM task t JOIN organization o ON o.id = t.organization
WHERE t.owner = :owner AND t.attempt = :attempt AND (t.lease_key = :key OR t.key = :key)
ORDER BY CASE WHEN t.lease_key = :key THEN 0 ELSE 1 END"""


@functools.cache
def save_task(*columns: str) -> str:
    """The change of some columns of a task, with the fence: which lease and which state its writer saw."""
    changes = ", ".join(f"{column} = :{column}" for column in columns)
    return f"UPDATE task SET {changes} WHERE id = :id AND attempt = :seen_attempt AND status = :seen_status"


# Only if the change of the task was carried out.
PLACE_TASK = """
UPDATE run_task SET phase = :phase, until = :until
WHERE task = :task AND EXISTS (SELECT 1 FROM task t WHERE t.id = :task AND t.attempt = :attempt AND t.status = :status)"""

# -- owners ------------------------------------------------------------------------------------------------

ADD_OWNER = """
INSERT INTO owner (id, host, pid, started) VALUES (:id, :host, :pid, :started) ON CONFLICT (id) DO NOTHING"""

OWNERS = "SELECT id, host, pid FROM owner"

# All who may hold something: who is named on a task holds it, whether or not there is a word of it here.
DEAD_OWNERS = """
SELECT x.id FROM (
    SELECT id FROM owner UNION SELECT owner FROM task WHERE owner IS NOT NULL AND status IN ('leased', 'sending')
) x WHERE NOT is_alive(x.id)"""

DROP_OWNER = "DELETE FROM owner WHERE id = :owner"

IN_FLIGHT = """
SELECT id, attempt, status, lease_key FROM task WHERE owner = :owner AND status IN ('leased', 'sending')"""

# The index task_owner is of both states: SQLite does not see that one of them is among the two.
LEASED = """
SELECT owner, attempt, lease_key FROM task
WHERE owner = ANY(:owners) AND status IN ('leased', 'sending') AND status = 'leased'"""

STOP_SERVING = "DELETE FROM serving WHERE owner = :owner"

STOP_SERVING_RUN = "DELETE FROM serving WHERE owner = :owner AND run = :run"

SERVE = """
INSERT INTO serving (organization, run, owner, refused, stopped, stopped_until)
SELECT organization, :run, :owner, :refused, :stopped, CAST(:until AS DOUBLE PRECISION) FROM identity WHERE identity = :identity
ON CONFLICT (organization, run, owner) DO UPDATE SET refused = excluded.refused, stopped = '', stopped_until = NULL
WHERE excluded.stopped = ''"""

SERVERS = "SELECT DISTINCT run, owner FROM serving"

SERVED = """
SELECT o.identity, s.owner, s.refused, s.stopped, s.stopped_until FROM serving s JOIN organization o ON o.id = s.organization
WHERE s.run = :run ORDER BY s.owner"""

# -- uncertain tasks ---------------------------------------------------------------------------------------

# CROSS JOIN keeps SQLite at the few tasks that are due, instead of all of the run.
EVIDENCE_DUE = f"""{TASK_COLUMNS}
FROM task t CROSS JOIN run_task r CROSS JOIN organization o
WHERE t.evidence_due <= :now AND t.status IN ('uncertain', 'queued') AND r.task = t.id AND r.run = :run
  AND o.id = t.organization ORDER BY r.position"""

SEARCHES = """
SELECT o.identity, COUNT(*) AS tasks, MIN(t.evidence_due) AS due, MAX(t.evidence_at - t.granted_at) AS reach,
    (SELECT MAX(s.until) FROM run_task s WHERE s.run = :run AND s.phase = 4) AS settled_at
FROM task t CROSS JOIN run_task r CROSS JOIN organization o
WHERE t.evidence_due IS NOT NULL AND t.status = 'uncertain' AND r.task = t.id AND r.run = :run
  AND o.id = t.organization GROUP BY o.identity"""

KNOWN_SNAPSHOTS = """
SELECT snapshot_id AS id FROM task WHERE organization = :organization AND snapshot_id = ANY(:ids)
UNION SELECT event_id FROM task WHERE organization = :organization AND event_id = ANY(:ids)
UNION SELECT event_id FROM stub WHERE organization = :organization AND event_id = ANY(:ids)"""

# -- reads -------------------------------------------------------------------------------------------------

ADD_READER = """
INSERT INTO read_share (reader, ticket, reads, returns_at) VALUES (:reader, '', 0, 0) ON CONFLICT DO NOTHING"""

LOCK_READERS = "SELECT reader, returns_at FROM read_share WHERE reader = ANY(:readers) AND ticket = '' ORDER BY reader FOR UPDATE"

READ_SHARES = "SELECT * FROM read_share WHERE reader = ANY(:readers) AND ticket <> ''"

DROP_READ_SHARES = "DELETE FROM read_share WHERE reader = ANY(:readers) AND ticket <> ''"

PUT_READ_SHARE = """
INSERT INTO read_share (reader, ticket, reads, returns_at) VALUES (:reader, :ticket, :reads, :returns_at)
ON CONFLICT (reader, ticket) DO UPDATE SET returns_at = excluded.returns_at"""

# -- clocks ------------------------------------------------------------------------------------------------

NOTE_CLOCK = """
INSERT INTO machine_clock (boot_id, boot, wall, at) VALUES (:boot_id, :boot, :wall, :at)
ON CONFLICT (boot_id) DO UPDATE SET boot = excluded.boot, wall = excluded.wall, at = excluded.at"""

DROP_CLOCKS = "DELETE FROM machine_clock WHERE at < :before"

CLOCKS = "SELECT boot_id, boot, wall, at FROM machine_clock ORDER BY at DESC"

# -- after a reboot (SQLite) -------------------------------------------------------------------------------

META = "SELECT boot_id, last_at, last_wall, identity, changes FROM meta"

SAVE_META = "UPDATE meta SET boot_id = :boot_id, last_at = :now, last_wall = :wall"

TOUCH_META = "UPDATE meta SET version = version"

ALL_TOKENS = "SELECT * FROM token"

CLOSED_GATES = "SELECT * FROM bucket WHERE gate_until IS NOT NULL"

SHIFT = (
    """UPDATE task SET retry_at = retry_at + :shift, first_sent_at = first_sent_at + :shift,
    granted_at = granted_at + :shift, evidence_at = evidence_at + :wait, evidence_due = evidence_due + :wait,
    settled_at = settled_at + :shift""",
    "UPDATE run_task SET until = until + CASE WHEN phase = 5 THEN :wait ELSE :shift END WHERE phase IN (2, 4, 5)",
    "UPDATE held SET since = since + :shift",
    "UPDATE bucket SET last_grant = last_grant + :shift",
    "UPDATE meta SET lost_at = lost_at + :wait",
    "UPDATE read_share SET returns_at = returns_at + :wait",
)
