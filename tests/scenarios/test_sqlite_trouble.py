"""A SQLite file in trouble: what runs do, what commands still show, and what they say about it."""

from __future__ import annotations

import json
import os
import pwd
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from orchestrator.app.examine import Level, examine_store
from orchestrator.core.jobs import RetryRules
from orchestrator.output.sentences import last_line
from orchestrator.simulator import Simulator, example_world, serve
from orchestrator.store import sqlite
from orchestrator.store.sqlite import SqliteDatabase
from orchestrator.store.store import Store
from tests.support.commands import LONGEST, ROOT, Ran, environment, ran, ran_by
from tests.support.server_log import find_duplicates, refusals
from tests.support.terminals import TESNAP
from tests.support.virtual import Notebook, Stage, drive

StageMaker = Callable[..., Stage]
STORED = 12
LOOKS = (("status", "last"), ("runs",), ("report", "last"), ("list",))


def connection_of(store: Store) -> sqlite3.Connection:
    """The store's own connection."""
    database = store._database
    assert isinstance(database, SqliteDatabase)
    return database._connection


def said_of_the_store(notebook: Notebook) -> list[str]:
    """What the user was told of it."""
    return [event.text for event in notebook.events if event.name == "store.unavailable"]


def judge(at: Stage, notebook: Notebook) -> None:
    """Everything made once, recorded once, never over the limit."""
    assert len(notebook.results) == STORED
    assert len([entry for entry in at.simulator.log if entry.counted]) == STORED
    assert find_duplicates(at.simulator.log) == {}
    assert refusals(at.simulator.log) == []


# -- a full disk -------------------------------------------------------------------------------------------


@contextmanager
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Let no file of this process grow beyond a size: what a write to a full disk meets."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_for_a_while_costs_time_and_nothing_else(stage: StageMaker) -> None:
    """Nothing is sent meanwhile; with room again everything is made once."""
    at = stage(tests=STORED)
    worker, notebook = at.worker(at.jobfile(STORED))
    begun, wal = at.clock.boot(), Path(f"{at.store}-wal")
    with file_size_limit() as limited:
        at.timeline.at(begun + 1.5, lambda: limited(wal.stat().st_size))
        at.timeline.at(begun + 700, lambda: limited(resource.RLIM_INFINITY))
        (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, STORED)
    judge(at, notebook)
    (told,) = said_of_the_store(notebook)
    assert told.startswith(f"sqlite:///{at.store}: the disk fails or is full; see the system's log")
    posts = sorted(entry.arrived for entry in at.simulator.log if entry.method == "POST")
    start = posts[0]
    assert not [arrived for arrived in posts if start + 2 < arrived < start + 700]


def test_doctor_finds_a_disk_that_takes_nothing_more(stage: StageMaker) -> None:
    """To open a store and to read it needs no room: only a commit shows it."""
    at = stage(tests=1)
    store = at.open()
    store.touch()
    at.clock.advance(1.0)
    with file_size_limit() as limited:
        limited(Path(f"{at.store}-wal").stat().st_size)
        (check,) = examine_store(lambda: nullcontext(store))
    assert check.level is Level.TROUBLE
    assert "the disk fails or is full" in check.text
    (check,) = examine_store(lambda: nullcontext(store))
    assert check.level is Level.FINE


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of eight MiB; only the superuser can make one."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    if os.system(f"mount -t tmpfs -o size=8m tmpfs {folder} 2>/dev/null"):  # noqa: S605 - a fixed command
        folder.rmdir()
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        os.system(f"umount --lazy {folder}")  # noqa: S605 - a fixed command
        folder.rmdir()


@pytest.mark.process
def test_a_file_system_that_fills_up_is_waited_for(small_disk: Path) -> None:
    """Somebody else fills it in the middle of the run, and makes room again."""
    ballast = small_disk / "ballast"
    at = Stage(small_disk / "store.db", tests=STORED)
    worker, notebook = at.worker(at.jobfile(STORED))
    begun = at.clock.boot()
    shown: list[Ran] = []
    at.timeline.at(begun + 1.5, lambda: fill(ballast))
    at.timeline.at(begun + 300, lambda: shown.extend(ran(*words, "--store", at.store) for words in LOOKS))
    at.timeline.at(begun + 700, ballast.unlink)
    (ending,) = drive(at.timeline, [worker])
    at.close()
    assert (ending.exit_code, ending.counts.created) == (0, STORED)
    assert [(one.code, one.stderr) for one in shown] == [(0, "")] * len(LOOKS)
    judge(at, notebook)
    (told,) = said_of_the_store(notebook)
    assert "the disk is full; make room" in told


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@pytest.mark.process
def test_a_volume_that_is_full_under_a_command_and_empties_again(small_disk: Path, tmp_path: Path) -> None:
    """The whole command, its store, its metrics and the memory of its run on one volume: it waits, and all is made once."""
    simulator = Simulator(example_world(1, STORED), period=1.0, latency=(0.0, 0.0))
    (tmp_path / "jobs.yaml").write_text(
        "version: 1\nname: night\njobs: [{name: a, select: {test_name: '*'}, windows: [{last: 1h, until: '00:00'}]}]\n"
    )
    quick = {"TESNAP_PER": "1s", "TESNAP_GUARD": "10ms", "TESNAP_GRACE": "100ms"}
    words = ["run", "jobs.yaml", "--json", "--metrics", f"{small_disk}/tesnap.prom"]
    with serve(simulator) as url:
        environ = {**environment(small_disk), **quick, "TE_BASE_URL": url, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*TESNAP, *words],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            records = [process.stdout.readline(), process.stdout.readline()]
            fill(small_disk / "ballast")
            said = next(line for line in process.stderr if "full" in line)
            looked = ran("status", "--store", environ["TESNAP_STORE"])
            (small_disk / "ballast").unlink()
            out, _ = process.communicate(timeout=LONGEST)
    events = [json.loads(line)["event"] for line in [*records, *out.splitlines()]]
    assert (process.returncode, Counter(events)["snapshot.created"]) == (0, STORED)
    assert "the disk is full; make room" in said
    assert (looked.code, "is at work since" in looked.stdout) == (0, True)
    assert len([entry for entry in simulator.log if entry.counted]) == STORED
    assert "with exit code 0" in ran("status", "--store", environ["TESNAP_STORE"]).stdout
    assert 'tesnap_last_run_exit_code{name="night"} 0.0' in (small_disk / "tesnap.prom").read_text()


@pytest.mark.process
def test_starting_on_a_full_disk_says_so_and_sends_nothing(small_disk: Path, tmp_path: Path) -> None:
    """Exit code 5: it passes, and the same command is right once there is room."""
    jobs = job_file(tmp_path)
    store = small_disk / "store.db"
    with_runs(store)
    fill(small_disk / "ballast")
    for path in (store, small_disk / "new.db"):
        told = ran("run", jobs, "--store", str(path))
        assert told.code == 5, told.stderr
        assert f"tesnap: error: sqlite:///{path}: the disk " in told.stderr
        assert "full" in told.stderr
        plain(told)


@pytest.mark.process
def test_a_file_system_that_is_read_only_is_named_and_can_be_looked_at(
    small_disk: Path, tmp_path: Path
) -> None:
    """It was mounted so, or the kernel made it so after an error: nothing is sent, exit code 2, and nothing is lost."""
    jobs, store = job_file(tmp_path), small_disk / "store.db"
    with_runs(store)
    assert os.system(f"mount -o remount,ro {small_disk}") == 0  # noqa: S605 - a fixed command
    for path in (store, small_disk / "new.db"):
        told = ran("run", jobs, "--store", str(path))
        assert told.code == 2, told.stderr
        assert f"sqlite:///{path}: " in told.stderr
        assert "may be written" in told.stderr or "cannot be written" in told.stderr
        plain(told)
    for words in LOOKS:
        shown = ran(*words, "--store", str(store))
        assert (shown.code, shown.stderr) == (0, "")
    assert os.system(f"mount -o remount,rw {small_disk}") == 0  # noqa: S605 - a fixed command
    with closing(sqlite3.connect(store)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- locked ------------------------------------------------------------------------------------------------


def test_a_store_that_another_process_keeps_locked_is_waited_for(stage: StageMaker) -> None:
    """Somebody hangs in a transaction: nothing is sent until it ends."""
    at = stage(tests=STORED)
    store = at.open()
    worker, notebook = at.worker(at.jobfile(STORED), store=store)
    connection_of(store).execute("PRAGMA busy_timeout = 1")
    begun, other = at.clock.boot(), sqlite3.connect(at.store, isolation_level=None)
    at.timeline.at(begun + 1.5, lambda: other.execute("BEGIN IMMEDIATE").close())
    at.timeline.at(begun + 400, lambda: other.execute("ROLLBACK").close())
    (ending,) = drive(at.timeline, [worker])
    other.close()
    assert (ending.exit_code, ending.counts.created) == (0, STORED)
    judge(at, notebook)
    (told,) = said_of_the_store(notebook)
    assert "another process has kept it locked" in told
    assert "see whether one hangs; nothing is sent until it answers" in told.replace(
        " (database is locked)", ""
    )


def test_commands_on_a_locked_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that look see everything; those that write give up after a while with exit code 5."""
    monkeypatch.setattr(sqlite, "BUSY", 0.05)  # real seconds of waiting are all that this changes
    store = with_runs(tmp_path / "store.db")
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for words in LOOKS:
        shown = ran(*words, "--store", str(store))
        assert (shown.code, shown.stderr) == (0, "")
    for words in (("run", job_file(tmp_path)), ("cancel", "r1")):
        told = ran(*words, "--store", str(store))
        assert told.code == 5
        assert f"tesnap: error: sqlite:///{store}: another process has" in told.stderr
        assert "see whether one hangs" in told.stderr
        plain(told)
    other.close()


# -- damaged -----------------------------------------------------------------------------------------------


def pages_gone(store: Path) -> None:
    """Everything behind the first page is noise."""
    content = store.read_bytes()
    store.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def cut_short(store: Path) -> None:
    """The second half was lost."""
    content = store.read_bytes()
    store.write_bytes(content[: len(content) // 8192 * 4096])


def first_page_gone(store: Path) -> None:
    """The header is noise."""
    content = store.read_bytes()
    store.write_bytes(b"\xa5" * 4096 + content[4096:])


def schema_gone(store: Path) -> None:
    """The header is there, the list of tables is noise."""
    content = store.read_bytes()
    store.write_bytes(content[:100] + b"\xa5" * 3996 + content[4096:])


def something_else(store: Path) -> None:
    """Somebody's notes."""
    store.write_text("remember the milk\n" * 400)


DAMAGES = [pages_gone, cut_short, first_page_gone, schema_gone, something_else]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """By every command, with exit code 2 and nothing sent; the file is left as it is."""
    store = with_runs(tmp_path / "store.db")
    damage(store)
    before = store.read_bytes()
    jobs = job_file(tmp_path)
    commands = [*LOOKS, ("plan", jobs, "--offline"), ("run", jobs), ("cancel", "r1")]
    for words in commands:
        told = ran(*words, "--store", str(store))
        assert (words[0], told.code, told.stdout) == (words[0], 2, "")
        assert f"tesnap: error: sqlite:///{store}: " in told.stderr
        assert any(advice in told.stderr for advice in ("restore it from a backup", "move this one away"))
        plain(told)
    assert store.read_bytes() == before


def test_a_file_that_is_damaged_under_a_run_ends_it_in_the_end(stage: StageMaker) -> None:
    """After `within` with exit code 5 and true words: nothing was sent since."""
    at = stage(tests=STORED)
    worker, notebook = at.worker(at.jobfile(STORED))
    begun = at.clock.boot()

    def damaged() -> None:
        own = connection_of(at.stores[0])
        for statement in ("wal_checkpoint(TRUNCATE)", "cache_size = 0", "shrink_memory"):
            own.execute(f"PRAGMA {statement}").fetchall()  # nothing of it is kept in memory
        pages_gone(Path(at.store))

    at.timeline.at(begun + 200, damaged)
    (ending,) = drive(at.timeline, [worker], longest=20_000)
    assert ending.exit_code == 5
    assert ending.counts.created == 5
    assert last_line(ending) == "5 created, 7 pending (store): tesnap resume r1"
    assert ending.seconds == pytest.approx(200 + RetryRules().within, abs=5)
    (told,) = said_of_the_store(notebook)
    assert "the file is damaged; restore it from a backup" in told
    assert len([entry for entry in at.simulator.log if entry.method == "POST"]) == 5


# -- read only ---------------------------------------------------------------------------------------------


@pytest.fixture
def somebody() -> int:
    """A user for whom modes count; the superuser may do everything."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.getuid()


@pytest.fixture
def folder(somebody: int) -> Iterator[Path]:
    """A folder of that user's, outside of everybody's private ones."""
    made = Path(tempfile.mkdtemp(prefix="store-"))
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


def given_to(user: int, folder: Path, *, files: int, itself: int) -> None:
    """Give a folder with all in it to a user, with these modes."""
    for path in sorted(folder.rglob("*"), reverse=True):
        os.chown(path, user, -1)
        path.chmod(itself if path.is_dir() else files)
    os.chown(folder, user, -1)
    folder.chmod(itself)


@pytest.mark.process
@pytest.mark.parametrize(
    ("left", "itself"),
    [("closed", 0o700), ("running", 0o700), ("crashed", 0o700), ("closed", 0o500), ("running", 0o500)],
    ids=lambda value: value if isinstance(value, str) else f"{value:o}",
)
def test_what_may_only_be_read_is_still_shown(
    folder: Path, tmp_path: Path, somebody: int, left: str, itself: int
) -> None:
    """By everything that only looks; what writes says which permissions to check, and sends nothing."""
    store = with_runs(tmp_path / "store.db", left=left, copy_to=folder)
    jobs = job_file(folder)
    given_to(somebody, folder, files=0o400, itself=itself)
    looks = [[*words, "--store", str(store)] for words in LOOKS]
    looks.append(["plan", jobs, "--offline", "--store", str(store)])
    *shown, run, cancel = ran_by(
        somebody, [*looks, ["run", jobs, "--store", str(store)], ["cancel", "r1", "--store", str(store)]]
    )
    for words, one in zip(looks, shown, strict=True):
        assert (words[0], one.code, one.stderr) == (words[0], 0, "")
    assert "r1" in shown[0].stdout
    assert "3 created" in shown[1].stdout
    for told in (run, cancel):
        plain(told)
        assert (told.code, told.stdout) == (2, "")
        assert f"tesnap: error: sqlite:///{store}: " in told.stderr
        assert "may be written" in told.stderr


@pytest.mark.process
def test_a_log_that_cannot_be_read_along_is_told(folder: Path, tmp_path: Path, somebody: int) -> None:
    """A crashed process left a log, and beside it nothing may be written: what is missing is named, nothing is guessed."""
    store = with_runs(tmp_path / "store.db", left="crashed", copy_to=folder)
    given_to(somebody, folder, files=0o400, itself=0o500)
    for told in ran_by(somebody, [[*words, "--store", str(store)] for words in LOOKS]):
        assert (told.code, told.stdout) == (2, "")
        assert "it cannot be opened; check that the folder exists and may be written" in told.stderr
        plain(told)


@pytest.mark.process
def test_a_store_of_somebody_else_is_named_with_what_to_check(
    folder: Path, tmp_path: Path, somebody: int
) -> None:
    """Links are capabilities: its file is for its owner alone, and whoever else asks is told of permissions."""
    if somebody == os.getuid():
        pytest.skip("only the superuser can be two users")
    store = with_runs(tmp_path / "store.db", copy_to=folder)
    folder.chmod(0o755)
    for told in ran_by(somebody, [[*words, "--store", str(store)] for words in LOOKS]):
        assert told.code == 2
        assert "it cannot be opened" in told.stderr
        plain(told)


@pytest.mark.process
def test_a_store_that_was_opened_to_a_group_shows_its_runs_without_their_locks(
    folder: Path, tmp_path: Path, somebody: int
) -> None:
    """The file may be read, the folder of locks beside it may not: a process that cannot be looked at counts as alive."""
    if somebody == os.getuid():
        pytest.skip("only the superuser can be two users")
    store = with_runs(tmp_path / "store.db", left="crashed", copy_to=folder)
    folder.chmod(0o777)
    for path in folder.glob("store.db*"):
        path.chmod(0o700 if path.is_dir() else 0o666)
    for told in ran_by(somebody, [[*words, "--store", str(store)] for words in LOOKS]):
        assert (told.code, told.stderr) == (0, "")


# -- short words -------------------------------------------------------------------------------------------


def plain(told: Ran) -> None:
    """Words for people: no traceback, and no fault of the program."""
    assert "Traceback" not in told.stderr + told.stdout
    assert "internal error" not in told.stderr


def with_runs(path: Path, *, left: str = "closed", copy_to: Path | None = None) -> Path:
    """A store with a run of three that are made; closed, or as it lies on the disk while it is in use."""
    at = Stage(path, tests=3)
    at.run(at.jobfile(3), run_id="r1")
    if left != "closed":
        store = at.open()
        store.queue.serve("r1", list(store.views.run("r1").counts))
    if left == "closed":
        at.close()
    if copy_to is not None:
        for one in path.parent.glob(f"{path.name}*"):
            if left == "crashed" and one.name.endswith("-shm"):
                continue  # the log alone, as a backup has it
            (shutil.copytree if one.is_dir() else shutil.copy)(one, copy_to / one.name)
    at.close()
    return path if copy_to is None else copy_to / path.name


def job_file(folder: Path) -> str:
    """A job file that nothing ever gets far enough with to send anything."""
    token = folder / "token"
    token.write_text("token-1\n")
    path = folder / "night.yaml"
    path.write_text(
        f"version: 1\nname: night\norganizations: {{org-1: {{token_file: {token}}}}}\n"
        "jobs: [{name: org-1, organization: org-1, tests: ['202701'], windows: [{last: 1h}]}]\n"
    )
    return str(path)
