"""The tables, and how an older store becomes one of this version: numbered steps forward, never back."""

from __future__ import annotations

from orchestrator.core import StoreUnavailable, StoreUnusable
from orchestrator.store import sql
from orchestrator.store.database import Row, Transaction

FIRST = (
    """CREATE TABLE organization (
        id {serial},
        identity TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        version BIGINT NOT NULL DEFAULT 0,       -- changes with every change of a task or token
        last_grant DOUBLE PRECISION,
        gate_closed_at DOUBLE PRECISION,
        gate_until DOUBLE PRECISION,             -- NULL: the gate is open
        gate_closings BIGINT NOT NULL DEFAULT 0,
        gate_wall DOUBLE PRECISION,              -- the calendar when it closed
        gate_probe_task BIGINT,                  -- the lease that probes
        gate_probe_attempt BIGINT
    )""",
    # Every identity an organization was ever known by, its names with their base URL among them.
    """CREATE TABLE identity (
        identity TEXT PRIMARY KEY,
        organization BIGINT NOT NULL
    )""",
    """CREATE TABLE token (
        organization BIGINT NOT NULL,
        number BIGINT NOT NULL,
        returns_at DOUBLE PRECISION NOT NULL,
        written_at DOUBLE PRECISION NOT NULL,
        written_wall DOUBLE PRECISION NOT NULL,
        full_hold DOUBLE PRECISION NOT NULL,
        task BIGINT,                             -- the lease that may still change the return
        attempt BIGINT,
        PRIMARY KEY (organization, number)
    )""",
    """CREATE TABLE held (
        organization BIGINT NOT NULL,
        priority BIGINT NOT NULL,
        since DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (organization, priority)
    )""",
    """CREATE TABLE task (
        id {serial},
        key TEXT NOT NULL UNIQUE,
        base_key TEXT NOT NULL,
        generation BIGINT NOT NULL,
        organization BIGINT NOT NULL,
        account_group TEXT NOT NULL,
        test_id TEXT NOT NULL,
        test_name TEXT,
        window_start BIGINT NOT NULL,
        window_end BIGINT NOT NULL,
        is_public BIGINT NOT NULL,
        display_name TEXT NOT NULL,
        ready_at DOUBLE PRECISION NOT NULL,      -- epoch seconds
        status TEXT NOT NULL,
        attempt BIGINT NOT NULL DEFAULT 0,       -- grows with each lease: the fence
        tries BIGINT NOT NULL DEFAULT 0,         -- attempts that counted
        resends BIGINT NOT NULL DEFAULT 0,
        first_sent_at DOUBLE PRECISION,
        retry_at DOUBLE PRECISION NOT NULL DEFAULT 0,
        owner TEXT,                              -- of the last lease, while it can still say something
        lease_key TEXT,                          -- the key it was granted under
        lease_run TEXT,
        lease_limit TEXT,                        -- JSON
        lease_timeout DOUBLE PRECISION,
        lease_token BIGINT,
        granted_at DOUBLE PRECISION,
        evidence_at DOUBLE PRECISION,            -- when a request of this lease can no longer be carried out
        evidence_due DOUBLE PRECISION,           -- set while evidence is still to be looked for
        duplicate_possible BIGINT NOT NULL DEFAULT 0,
        queued_wall DOUBLE PRECISION,
        granted_wall DOUBLE PRECISION,
        sent_wall DOUBLE PRECISION,
        settled_wall DOUBLE PRECISION,
        settled_at DOUBLE PRECISION,
        http_status BIGINT,
        problem TEXT,                            -- JSON
        snapshot_id TEXT,
        event_id TEXT,
        snapshot TEXT,                           -- JSON
        found TEXT,
        UNIQUE (base_key, generation)
    )""",
    "CREATE INDEX task_owner ON task (owner) WHERE owner IS NOT NULL",
    "CREATE INDEX task_evidence ON task (evidence_due) WHERE evidence_due IS NOT NULL",
    "CREATE INDEX task_made ON task (organization) WHERE snapshot_id IS NOT NULL",
    """CREATE TABLE run (
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        files TEXT NOT NULL,                     -- JSON
        created_at DOUBLE PRECISION NOT NULL,
        state TEXT NOT NULL,
        tasks BIGINT NOT NULL
    )""",
    """CREATE TABLE run_organization (
        run TEXT NOT NULL,
        organization BIGINT NOT NULL,
        PRIMARY KEY (run, organization)
    )""",
    # What a run says of a task. `phase` and `until` repeat the task's state in a form that one index can
    # answer "which is next, and when" by, however many tasks wait: see orchestrator.store.rows.Phase.
    """CREATE TABLE run_task (
        run TEXT NOT NULL,
        position BIGINT NOT NULL,
        task BIGINT NOT NULL,
        organization BIGINT NOT NULL,
        priority BIGINT NOT NULL,
        kind TEXT NOT NULL,                      -- what a permission is refused for
        phase BIGINT NOT NULL,
        until DOUBLE PRECISION NOT NULL,
        job_name TEXT NOT NULL,
        on_uncertain TEXT NOT NULL,
        expect_saved_event BIGINT,
        PRIMARY KEY (run, position),
        UNIQUE (task, run)
    )""",
    "CREATE INDEX run_task_turn ON run_task (run, organization, phase, priority, until, position, kind)",
    "CREATE INDEX run_task_settled ON run_task (run, phase, until)",
    """CREATE TABLE owner (
        id TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        pid BIGINT NOT NULL,
        started DOUBLE PRECISION NOT NULL        -- epoch seconds
    )""",
    """CREATE TABLE serving (
        organization BIGINT NOT NULL,
        run TEXT NOT NULL,
        owner TEXT NOT NULL,
        PRIMARY KEY (organization, run, owner)
    )""",
    "CREATE INDEX serving_owner ON serving (owner)",
)

SECOND = (
    "ALTER TABLE organization ADD COLUMN last_limit TEXT",  # JSON: the settings of the last grant
    "CREATE INDEX task_made_at ON task (settled_wall, id) WHERE status = 'created'",
    # A lease is looked up by its key, since a process's name stands on all that it ever made.
    "DROP INDEX task_owner",
    "CREATE INDEX task_owner ON task (owner) WHERE status IN ('leased', 'sending')",
    "CREATE INDEX task_lease ON task (lease_key) WHERE lease_key IS NOT NULL",
)

THIRD = (
    # Only what is settled is looked up by time. Over all phases PostgreSQL would take this index for the turns, too.
    "DROP INDEX run_task_settled",
    "CREATE INDEX run_task_settled ON run_task (run, until) WHERE phase = 4",
    # What the user who planned a run calls an organization; '' in runs of before, which say the present name.
    "ALTER TABLE run_task ADD COLUMN organization_name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE run_organization ADD COLUMN name TEXT NOT NULL DEFAULT ''",
)

FOURTH = (
    # What a process may not send (JSON, kinds as in run_task): its run holds nobody back for that.
    "ALTER TABLE serving ADD COLUMN refused TEXT NOT NULL DEFAULT '[]'",
    # Why a process sends nothing for an organization now; '' if it does.
    "ALTER TABLE serving ADD COLUMN stopped TEXT NOT NULL DEFAULT ''",
)

FIFTH = (
    # If a saved event of the task's name was listed before any request for the snapshot was granted, and when the
    # list was read (epoch seconds); NULL where nobody looked.
    "ALTER TABLE task ADD COLUMN listed BIGINT",
    "ALTER TABLE task ADD COLUMN listed_at DOUBLE PRECISION",
    # The saved event (JSON) that may be an uncertain task's.
    "ALTER TABLE task ADD COLUMN possible_event TEXT",
    # Until when (epoch seconds) a process that is stopped waits for what may change that; NULL where nothing is known.
    "ALTER TABLE serving ADD COLUMN stopped_until DOUBLE PRECISION",
    # 1 where a run took a snapshot that may be gone for existing, since the list that shows it could not be read.
    "ALTER TABLE run_task ADD COLUMN unverified BIGINT NOT NULL DEFAULT 0",
    # Who shares a bucket may change: it has a number of its own. The columns that an organization had for it are not
    # used any more; they stay, since SQLite drops a column from its version 3.35 on only.
    """CREATE TABLE bucket (
        id {serial},
        founder BIGINT NOT NULL,                 -- the organization that it was made for
        version BIGINT NOT NULL DEFAULT 0,       -- changes with every change of a task or token
        last_grant DOUBLE PRECISION,
        last_limit TEXT,                         -- JSON: the settings of the last grant
        gate_closed_at DOUBLE PRECISION,
        gate_until DOUBLE PRECISION,             -- NULL: the gate is open
        gate_closings BIGINT NOT NULL DEFAULT 0,
        gate_wall DOUBLE PRECISION,              -- the calendar when it closed
        gate_probe_task BIGINT,                  -- the lease that probes
        gate_probe_attempt BIGINT
    )""",
    "CREATE INDEX bucket_founder ON bucket (founder)",
    """INSERT INTO bucket (founder, version, last_grant, last_limit, gate_closed_at, gate_until, gate_closings,
        gate_wall, gate_probe_task, gate_probe_attempt)
    SELECT id, version, last_grant, last_limit, gate_closed_at, gate_until, gate_closings,
        gate_wall, gate_probe_task, gate_probe_attempt FROM organization ORDER BY id""",
    "ALTER TABLE organization ADD COLUMN bucket BIGINT",
    "UPDATE organization SET bucket = (SELECT b.id FROM bucket b WHERE b.founder = organization.id)",
    "CREATE INDEX organization_bucket ON organization (bucket)",
    # By way of negative numbers: no new number is then another's old one.
    "ALTER TABLE token RENAME COLUMN organization TO bucket",
    "UPDATE token SET bucket = -(SELECT o.bucket FROM organization o WHERE o.id = token.bucket)",
    "UPDATE token SET bucket = -bucket",
    "ALTER TABLE held RENAME COLUMN organization TO bucket",
    "UPDATE held SET bucket = -(SELECT o.bucket FROM organization o WHERE o.id = held.bucket)",
    "UPDATE held SET bucket = -bucket",
    # What organizations may have in common: the digest of a token (never the token), or the orgId that a file names.
    """CREATE TABLE sign (
        sign TEXT NOT NULL,
        organization BIGINT NOT NULL,
        proved BIGINT NOT NULL,                  -- 1: with it, the organization's orgId was read
        PRIMARY KEY (sign, organization)
    )""",
    "CREATE INDEX sign_organization ON sign (organization)",
    "ALTER TABLE meta ADD COLUMN digest_key TEXT",  # random, of this store alone
    # A name that no other store has, and how many transactions changed it: by these a lost store is known.
    "ALTER TABLE meta ADD COLUMN identity TEXT",
    "ALTER TABLE meta ADD COLUMN changes BIGINT NOT NULL DEFAULT 0",
    # When it was noticed last that what was kept here is lost in whole or in part, and why; NULL: never.
    "ALTER TABLE meta ADD COLUMN lost_cause TEXT",
    "ALTER TABLE meta ADD COLUMN lost_at DOUBLE PRECISION",  # store time: all slots are out for one hold
    "ALTER TABLE meta ADD COLUMN lost_wall DOUBLE PRECISION",
    # When a run first ended with everything made after that: later ones send nothing that may exist already.
    "ALTER TABLE meta ADD COLUMN clean_wall DOUBLE PRECISION",
    # The store's clock (`at`) beside that of each machine at work, by the id of its boot.
    """CREATE TABLE machine_clock (
        boot_id TEXT PRIMARY KEY,
        boot DOUBLE PRECISION NOT NULL,
        wall DOUBLE PRECISION NOT NULL,
        at DOUBLE PRECISION NOT NULL
    )""",
)

SIXTH = (
    # The process that is still storing the run's plan; NULL once it is whole. Until then the run is nobody's but its.
    "ALTER TABLE run ADD COLUMN planner TEXT",
    "CREATE INDEX run_planned ON run (id) WHERE planner IS NOT NULL",
    # Set where the plan found the task failed or uncertain, until the run has taken it up once it is whole: '' or the
    # problem (JSON) for which it is refused.
    "ALTER TABLE run_task ADD COLUMN afresh TEXT",
    "CREATE INDEX run_task_afresh ON run_task (run) WHERE afresh IS NOT NULL",
    # How many tasks of a run that has ended are where; NULL in `created`: they have to be counted.
    *(
        f"ALTER TABLE run ADD COLUMN {name} BIGINT"
        for name in ("created", "existing", "failed", "refused", "uncertain")
    ),
    """UPDATE run SET (created, existing, failed, refused, uncertain) = (
        SELECT
            SUM(CASE WHEN t.status = 'created' AND t.lease_run = r.run THEN 1 ELSE 0 END),
            SUM(CASE WHEN t.status = 'created' AND t.lease_run = r.run THEN 0 WHEN t.status = 'created' THEN 1 ELSE 0 END),
            SUM(CASE WHEN t.status = 'failed' THEN 1 ELSE 0 END),
            SUM(CASE WHEN t.status = 'failed' AND t.tries = 0 THEN 1 ELSE 0 END),
            SUM(CASE WHEN t.status = 'uncertain' THEN 1 ELSE 0 END)
        FROM run_task r JOIN task t ON t.id = r.task WHERE r.run = run.id)
    WHERE state = 'finished' AND NOT EXISTS (SELECT 1 FROM run_task q WHERE q.run = run.id AND q.phase <> 4)""",
    # The latest runs, those whose id begins with some letters, and those of a job that may be unfinished.
    "CREATE INDEX run_created ON run (created_at, id)",
    'CREATE INDEX run_beginning ON run (id COLLATE "C")',
    "CREATE INDEX run_active ON run (job) WHERE state = 'active'",
    # A saved event that was listed is looked up by its id, among all that an organization ever made.
    "DROP INDEX task_made",
    "CREATE INDEX task_snapshot ON task (organization, snapshot_id) WHERE snapshot_id IS NOT NULL",
    "CREATE INDEX task_event ON task (organization, event_id) WHERE event_id IS NOT NULL",
    # Reads that were reserved together, until they count no more. The row without a ticket is the lock of all others, and
    # has the time of the last look at them.
    """CREATE TABLE read_share (
        reader TEXT NOT NULL,                    -- an organization's identity, or the sign of a token
        ticket TEXT NOT NULL,
        reads BIGINT NOT NULL,
        returns_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (reader, ticket)
    )""",
)

SEVENTH = (
    # The organizations that the plan leaves out (JSON), NULL where there are none.
    "ALTER TABLE run ADD COLUMN left_out TEXT",
    # Why its tasks were pending when the run's last process ended.
    "ALTER TABLE run_organization ADD COLUMN reason TEXT",
    # Each start of a job, also one that came to no run.
    """CREATE TABLE job_start (
        id {serial},
        mark TEXT NOT NULL UNIQUE,               -- random: by it the process that started knows its row
        job TEXT NOT NULL,
        title TEXT NOT NULL,                     -- of an incident, else empty
        run TEXT,
        command TEXT NOT NULL,
        user_name TEXT NOT NULL,
        host TEXT NOT NULL,
        pid BIGINT NOT NULL,
        version TEXT NOT NULL,
        part BIGINT NOT NULL,                    -- 1: only a part of the file was meant
        attended BIGINT NOT NULL,                -- 1: at a terminal
        began_wall DOUBLE PRECISION NOT NULL,
        ended_wall DOUBLE PRECISION,             -- NULL: it is at work, or was killed
        exit_code BIGINT,
        last_line TEXT
    )""",
    "CREATE INDEX job_start_run ON job_start (run, id)",
    "CREATE INDEX job_start_whole ON job_start (job, id) WHERE part = 0",
    "CREATE INDEX job_start_done ON job_start (job, ended_wall) WHERE part = 0 AND exit_code = 0",
    "CREATE INDEX job_start_title ON job_start (LOWER(title), id) WHERE title <> ''",
    "CREATE INDEX job_start_attended ON job_start (user_name, host, id) WHERE attended = 1",
    # When each organization of a job was last made whole.
    """CREATE TABLE success (
        job TEXT NOT NULL,
        organization TEXT NOT NULL,              -- the user's name for it
        at DOUBLE PRECISION NOT NULL,
        tasks BIGINT NOT NULL,
        PRIMARY KEY (job, organization)
    )""",
)

EIGHTH = (
    # What is left of a snapshot that was forgotten and may exist for ever: enough that it is not made again unsaid. Kept
    # small (`orchestrator.store.stubs`): without a row number, and with one index besides its key.
    """CREATE TABLE stub (
        base_key TEXT NOT NULL,
        generation BIGINT NOT NULL,
        organization BIGINT NOT NULL,
        account_group TEXT NOT NULL,
        test_id TEXT NOT NULL,
        window_start BIGINT NOT NULL,
        window_end BIGINT NOT NULL,
        is_public BIGINT NOT NULL,
        display_name TEXT NOT NULL,
        resends BIGINT NOT NULL,
        made_wall DOUBLE PRECISION NOT NULL,
        snapshot_id TEXT,
        event_id TEXT,
        PRIMARY KEY (base_key, generation)
    ) WITHOUT ROWID""",
    "CREATE INDEX stub_event ON stub (organization, event_id)",
)

SHUT_OUT = "UPDATE meta SET oldest = version + 1"
"""A part of each step that does more than add: programs of before may not work on the store any more. A step without it
adds what they need not know. What that may be: docs/decisions/0026-a-store-of-the-next-version.md."""

NINTH = (
    # The oldest version whose programs may work on this store; those of before the ninth refuse every newer one.
    "ALTER TABLE meta ADD COLUMN oldest BIGINT NOT NULL DEFAULT 0",
    SHUT_OUT,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    FIRST,
    SECOND,
    THIRD,
    FOURTH,
    FIFTH,
    SIXTH,
    SEVENTH,
    EIGHTH,
    NINTH,
)
"""Step n (from 1) makes version n out of version n - 1. A step that was released is never changed."""

VERSION = len(MIGRATIONS)

META = """CREATE TABLE IF NOT EXISTS meta (
    version BIGINT NOT NULL,
    boot_id TEXT,
    last_at DOUBLE PRECISION,
    last_wall DOUBLE PRECISION
)"""


READ = "SELECT * FROM meta"
"""The row about the store itself; there is none in a new one."""


def check(meta: Row | None, place: str) -> int:
    """The version of a store by its row about itself, 0 for a new one; StoreUnusable if this program may not work on it.

    On a newer one it may if what came after its own version was only added.
    """
    found = 0 if meta is None else int(meta["version"])
    if meta is not None and found > VERSION and meta["oldest"] > VERSION:
        raise StoreUnusable(
            f"{place}: the store has version {found}, made by a newer tesnap, and needs one that knows version "
            f"{meta['oldest']}; this one knows versions up to {VERSION}. Install the newer tesnap, or name another store."
        )
    return found


def admit(tx: Transaction, place: str) -> None:
    """Refuse a process that is about to register a store that became too new since it opened it.

    Until the transaction ends nobody brings the store forward: who does that waits, and then knows of this process.
    """
    check(tx.row(f"{READ} FOR SHARE"), place)


def refuse_older(found: int, place: str) -> None:
    """Refuse a store that would have to be brought forward, to what only looks and where no copy can be made."""
    if found < VERSION:
        raise StoreUnusable(
            f"{place}: the store has version {found}, made by an older tesnap; this one reads version {VERSION}, and a "
            "command that only looks changes nothing: `tesnap run` or `tesnap resume` of this tesnap, with this store, "
            "brings it up to date"
        )


def refuse_company(tx: Transaction, place: str) -> None:
    """Let nobody bring a store forward under a process at work: an older one would end at its next statement.

    What it has on the wire would be uncertain then, and its user told of an internal error.
    """
    for row in tx.rows(sql.OWNERS):
        if tx.alive(row["id"]):
            raise StoreUnavailable(
                f"{place}: process {row['pid']} of {row['host']} runs an older tesnap and still uses this store, which it "
                f"could not do in version {VERSION}; run this command again when that process has ended, or stop it"
            )


def migrate(tx: Transaction, place: str, serial: str, *, copy: bool = False) -> int:
    """Bring the store to the present version, and tell which it had (0: a new one).

    `serial` is the database's words for a counted primary key. A `copy` is nobody else's.
    """
    tx.change(META)
    found = check(tx.row(f"{READ} FOR UPDATE"), place)
    steps = MIGRATIONS[found:]
    if found == 0:
        tx.change("INSERT INTO meta (version) VALUES (0)")
    elif not copy and any(SHUT_OUT in step for step in steps):
        refuse_company(tx, place)
    for number, step in enumerate(steps, start=found + 1):
        for statement in step:
            tx.change(statement.replace("{serial}", serial))
        tx.change("UPDATE meta SET version = :version", version=number)
    return found
