"""Starts of jobs, kept after their processes have gone: who, where, when, how it ended, what was made whole last."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from orchestrator.core import Start, StartEnd, Success
from orchestrator.store.database import Database, Row
from orchestrator.store.rows import BATCH

ADD = """
INSERT INTO job_start (mark, job, title, run, command, user_name, host, pid, version, part, attended, began_wall)
VALUES (:mark, :job, :title, :run, :command, :user, :host, :pid, :version, :part, :attended, :began)"""

SET_RUN = "UPDATE job_start SET run = :run WHERE mark = :mark"

END = """
UPDATE job_start SET ended_wall = :ended, exit_code = :exit_code, last_line = :last_line WHERE mark = :mark"""

FORGET_REASONS = "UPDATE run_organization SET reason = NULL WHERE run = :run AND reason IS NOT NULL"

SET_REASON = """
UPDATE run_organization SET reason = :reason
WHERE run = :run AND organization = (SELECT organization FROM identity WHERE identity = :identity)"""

REASONS = """
SELECT o.identity, r.reason FROM run_organization r JOIN organization o ON o.id = r.organization
WHERE r.run = :run AND r.reason IS NOT NULL"""

SET_SUCCESS = """
INSERT INTO success (job, organization, at, tasks) VALUES (:job, :organization, :at, :tasks)
ON CONFLICT (job, organization) DO UPDATE SET at = excluded.at, tasks = excluded.tasks"""

SUCCESSES = "SELECT * FROM success WHERE job = :job"

LAST_OF_RUNS = """
SELECT * FROM job_start WHERE id IN (SELECT MAX(id) FROM job_start WHERE run = ANY(:runs) GROUP BY run)"""

LAST_OF_JOB = """
SELECT * FROM job_start WHERE job = :job AND part = 0 AND ended_wall IS NOT NULL ORDER BY id DESC LIMIT 1"""

LAST_DONE = """
SELECT * FROM job_start WHERE job = :job AND part = 0 AND exit_code = 0 ORDER BY ended_wall DESC LIMIT 1"""

# Of a job that is forgotten the starts stay, under no name: `runs` and `status` tell how each ended.
JOBS = (
    "SELECT DISTINCT job FROM job_start WHERE part = 0 AND ended_wall IS NOT NULL AND job <> '' ORDER BY job"
)

FORGET_JOB = "UPDATE job_start SET job = '' WHERE job = :job AND part = 0 AND ended_wall IS NOT NULL"

FORGET_SUCCESSES = "DELETE FROM success WHERE job = :job"

LATEST_BY = """
SELECT s.run FROM job_start s JOIN run r ON r.id = s.run AND r.planner IS NULL
WHERE s.user_name = :user AND s.host = :host AND s.attended = 1 ORDER BY s.id DESC LIMIT 1"""

TITLED = """
SELECT run FROM job_start WHERE LOWER(title) = LOWER(:title) AND title <> '' AND run IS NOT NULL
GROUP BY run ORDER BY MIN(id)"""


class Starts:
    """The starts of jobs that a store remembers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, start: Start) -> str:
        """Remember a start; the mark by which it is known."""
        mark = secrets.token_hex(8)
        with self._database.write() as tx:
            tx.change(
                ADD,
                mark=mark,
                job=start.job,
                title=start.title,
                run=start.run_id,
                command=start.command,
                user=start.user,
                host=start.host,
                pid=start.pid,
                version=start.version,
                part=int(start.part),
                attended=int(start.attended),
                began=tx.epoch(),
            )
        return mark

    def set_run(self, mark: str, run_id: str) -> None:
        """Say which run a start has come to."""
        with self._database.write() as tx:
            tx.change(SET_RUN, mark=mark, run=run_id)

    def end(self, mark: str, start: Start, end: StartEnd) -> None:
        """Remember how a start ended, and what it has made whole."""
        with self._database.write() as tx:
            at = tx.epoch()
            tx.change(END, mark=mark, ended=at, exit_code=end.exit_code, last_line=end.last_line)
            if start.run_id is not None:
                tx.change(FORGET_REASONS, run=start.run_id)
                found = [
                    {"run": start.run_id, "identity": identity, "reason": reason}
                    for identity, reason in end.reasons.items()
                ]
                tx.each(SET_REASON, found)
            whole = [
                {"job": start.job, "organization": name, "at": at, "tasks": tasks}
                for name, tasks in end.whole.items()
            ]
            tx.each(SET_SUCCESS, [] if start.part else whole)

    def forget_job(self, job: str) -> None:
        """Forget that there was a job: nothing is told of it until it has run again. Its runs, and how each ended, stay."""
        with self._database.write() as tx:
            tx.change(FORGET_JOB, job=job)
            tx.change(FORGET_SUCCESSES, job=job)

    # -- what is remembered ------------------------------------------------------------------------------
    def last_of(self, run_ids: Sequence[str]) -> Mapping[str, Start]:
        """The last start of each of these runs, by the run's id."""
        found: dict[str, Start] = {}
        with self._database.read() as tx:
            for first in range(0, len(run_ids), BATCH):
                rows = tx.rows(LAST_OF_RUNS, runs=list(run_ids[first : first + BATCH]))
                found |= {row["run"]: _to_start(row) for row in rows}
        return found

    def reasons(self, run_id: str) -> Mapping[str, str]:
        """Why tasks of a run were pending when its last process ended, by identity."""
        with self._database.read() as tx:
            return {row["identity"]: row["reason"] for row in tx.rows(REASONS, run=run_id)}

    def jobs(self) -> list[str]:
        """The names of all jobs of which a start as a whole has ended, but for those that were forgotten."""
        with self._database.read() as tx:
            return [row["job"] for row in tx.rows(JOBS)]

    def last(self, job: str) -> Start | None:
        """The last start of a job as a whole that has ended."""
        with self._database.read() as tx:
            row = tx.row(LAST_OF_JOB, job=job)
        return None if row is None else _to_start(row)

    def last_done(self, job: str) -> Start | None:
        """The last start of a job as a whole that ended with everything made."""
        with self._database.read() as tx:
            row = tx.row(LAST_DONE, job=job)
        return None if row is None else _to_start(row)

    def successes(self, job: str) -> Mapping[str, Success]:
        """When each organization of a job was made whole last, by the user's name for it."""
        with self._database.read() as tx:
            rows = tx.rows(SUCCESSES, job=job)
        return {row["organization"]: Success(at=row["at"], tasks=row["tasks"]) for row in rows}

    def titled(self, title: str) -> Sequence[str]:
        """The ids of the runs that were started under this title, the oldest first."""
        with self._database.read() as tx:
            return [row["run"] for row in tx.rows(TITLED, title=title)]

    def latest_run(self, user: str, host: str) -> str | None:
        """The id of the latest run that this user started on this machine at a terminal."""
        with self._database.read() as tx:
            row = tx.row(LATEST_BY, user=user, host=host)
        return None if row is None else str(row["run"])


def _to_start(row: Row) -> Start:
    return Start(
        job=row["job"],
        title=row["title"],
        run_id=row["run"],
        command=row["command"],
        user=row["user_name"],
        host=row["host"],
        pid=row["pid"],
        version=row["version"],
        part=bool(row["part"]),
        attended=bool(row["attended"]),
        began_at=row["began_wall"],
        ended_at=row["ended_wall"],
        exit_code=row["exit_code"],
        last_line=row["last_line"] or "",
    )
