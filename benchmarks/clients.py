"""What people write or take instead: each makes the snapshots of one organization, as its documentation says it is used.

`python -m benchmarks.clients NAME WORK` with `Work` as JSON, in the environment of `make bench`. Waits that a recipe has
for a period of 300 s are scaled to the work's. Each writes what is made into a file, and leaves out what stands there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path

from benchmarks.server import FIRST_TEST, token_of

TRUE_PERIOD = 300.0
THREADS = 5
ATTEMPTS = 20
TIMEOUT = 10.0
START, END = "2026-11-20T14:00:00Z", "2026-11-20T15:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """So many snapshots within a limit; with several processes each has every n-th of them: its `share` `of` all."""

    origin: str
    folder: str
    tasks: int
    limit: int
    per: float
    share: int = 0
    of: int = 1

    @property
    def scale(self) -> float:
        """One second of the true period."""
        return self.per / TRUE_PERIOD

    @property
    def done(self) -> Path:
        """The file of what is made."""
        return Path(self.folder) / f"done-{self.share}"

    def left(self) -> list[str]:
        """The tests of which there is no snapshot yet."""
        made = set(self.done.read_text(encoding="ascii").split()) if self.done.exists() else set()
        tests = (str(FIRST_TEST + number) for number in range(self.share, self.tasks, self.of))
        return [test for test in tests if test not in made]

    def note(self, test: str) -> None:
        """Keep that a snapshot is made."""
        with self.done.open("a", encoding="ascii") as file:
            file.write(f"{test}\n")

    def body(self, test: str) -> dict[str, object]:
        """The request's JSON."""
        return {"displayName": f"Checkout {test}", "startDate": START, "endDate": END, "isPublic": False}


def _sender(work: Work) -> Callable[[str], None]:
    """Sends one snapshot's request by `requests`, once; raises what `requests` raises."""
    requests = import_module("requests")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token_of(1)}"

    def send(test: str) -> None:
        url = f"{work.origin}/v7/tests/{test}/snapshot"
        answer = session.post(url, params={"aid": "1234"}, json=work.body(test), timeout=TIMEOUT)
        answer.raise_for_status()
        work.note(test)

    return send


def _retrying(work: Work, act: Callable[[str], None]) -> Callable[[str], None]:
    """The usual recipe: exponential waits with jitter, from a second to a minute."""
    tenacity = import_module("tenacity")
    wait = tenacity.wait_random_exponential(multiplier=work.scale, max=60 * work.scale)
    again = tenacity.retry(wait=wait, stop=tenacity.stop_after_attempt(10 * ATTEMPTS), reraise=True)
    retrying: Callable[[str], None] = again(act)
    return retrying


def _send_all(work: Work, act: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(act, work.left()))


def use_tenacity(work: Work) -> None:
    """Retries alone: the limit is found by its refusals."""
    _send_all(work, _retrying(work, _sender(work)))


class TextbookBucket:
    """A bucket of tokens that is refilled evenly, in memory."""

    def __init__(self, limit: int, per: float) -> None:
        self._tokens, self._most, self._rate = float(limit), limit, limit / per
        self._at, self._lock = time.monotonic(), threading.Lock()

    def take(self) -> None:
        """Wait for a token, and take it."""
        while (pause := self._try()) > 0:
            time.sleep(pause)

    def _try(self) -> float:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return (1 - self._tokens) / self._rate
            self._tokens -= 1
            return 0.0


def use_textbook_bucket(work: Work) -> None:
    """A token for each attempt, and retries."""
    bucket, send = TextbookBucket(work.limit, work.per), _sender(work)

    def paced(test: str) -> None:
        bucket.take()
        send(test)

    _send_all(work, _retrying(work, paced))


def use_limits(work: Work) -> None:
    """`limits`: a moving window in memory, and retries."""
    limits, strategies, storage = map(import_module, ("limits", "limits.strategies", "limits.storage"))
    limiter = strategies.MovingWindowRateLimiter(storage.MemoryStorage())
    item, send = limits.RateLimitItemPerSecond(work.limit, int(work.per)), _sender(work)

    def paced(test: str) -> None:
        while not limiter.hit(item, "organization"):
            time.sleep(max(0.001, limiter.get_window_stats(item, "organization").reset_time - time.time()))
        send(test)

    _send_all(work, _retrying(work, paced))


def use_pyrate_limiter(work: Work) -> None:
    """`pyrate-limiter`: its log in SQLite with a lock between processes, tenacity, and a file of what is done."""
    pyrate = import_module("pyrate_limiter")
    rates = [pyrate.Rate(work.limit, int(work.per * 1000))]
    bucket = pyrate.SQLiteBucket.init_from_file(rates, db_path=f"{work.folder}/pyrate.db", use_file_lock=True)
    limiter, send, lock = pyrate.Limiter(bucket), _sender(work), threading.Lock()

    def paced(test: str) -> None:
        with lock:  # its lock between processes is none between threads
            limiter.try_acquire("organization")
        send(test)

    _send_all(work, _retrying(work, paced))


def use_dbos(work: Work) -> None:
    """A DBOS queue with its limiter, on SQLite; a step is tried again, and a workflow's id is its test."""
    dbos = import_module("dbos")
    dbos.DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{work.folder}/dbos.db"})
    send = _sender(work)
    step = dbos.DBOS.step(
        retries_allowed=True, max_attempts=ATTEMPTS, interval_seconds=work.scale, name="send"
    )(send)

    def snapshot(test: str) -> None:
        step(test)

    workflow = dbos.DBOS.workflow(name="snapshot")(snapshot)
    dbos.DBOS.launch()
    limiter = {"limit": work.limit, "period": work.per}
    dbos.DBOS.register_queue("snapshots", limiter=limiter, polling_interval_sec=max(0.01, work.scale))
    handles = []
    for test in work.left():
        with dbos.SetWorkflowID(test):
            handles.append(dbos.DBOS.enqueue_workflow("snapshots", workflow, test))
    for handle in handles:
        handle.get_result()
    dbos.DBOS.destroy()


def use_sdk(work: Work) -> None:
    """ThousandEyes' own SDK, which waits after a 429 for what the headers say."""
    core, snapshots = import_module("thousandeyes_sdk.core"), import_module("thousandeyes_sdk.snapshots")
    configuration = core.Configuration(host=f"{work.origin}/v7", access_token=token_of(1))
    client = core.ApiClient(configuration)
    api, (start, end) = snapshots.TestSnapshotsApi(client), map(datetime.fromisoformat, (START, END))

    def send(test: str) -> None:
        asked = snapshots.SnapshotRequest(
            display_name=f"Checkout {test}", start_date=start, end_date=end, is_public=False
        )
        api.create_test_snapshot(test, asked, aid="1234")
        work.note(test)

    for test in work.left():
        send(test)


def use_curl(work: Work) -> None:
    """`xargs` with `curl --retry`: its waits are from a second on, and cannot be scaled."""
    tests = "\n".join(work.left())
    request = json.dumps(work.body("{}"))
    shell = (
        f"curl --silent --fail --output /dev/null --retry {ATTEMPTS} --retry-all-errors --max-time {TIMEOUT:g} "
        f"--header 'Authorization: Bearer {token_of(1)}' --json '{request}' "
        f"'{work.origin}/v7/tests/{{}}/snapshot?aid=1234' && echo '{{}}' >> '{work.done}'"
    )
    command = ["xargs", "-P", f"{THREADS}", "-I{}", "sh", "-c", shell]
    subprocess.run(command, input=tests, text=True, check=False)  # noqa: S603 - the words are ours


CLIENTS: dict[str, Callable[[Work], None]] = {
    "tenacity": use_tenacity,
    "textbook bucket": use_textbook_bucket,
    "limits": use_limits,
    "pyrate-limiter": use_pyrate_limiter,
    "DBOS": use_dbos,
    "SDK": use_sdk,
    "xargs, curl": use_curl,
}


def main() -> None:
    """Make the snapshots of the work by one of the clients."""
    name, work = sys.argv[1:]
    CLIENTS[name](Work(**json.loads(work)))


if __name__ == "__main__":
    main()
