"""The README's command: as any user, on any volume, within the limits of the manifests, and again after it was killed."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from orchestrator.simulator import LoggedRequest
from scripts.manifests import KUBERNETES
from tests.container.engine import Ended, Engine
from tests.container.pods import Switch, World, serve_switch, serve_world, states, wait_until
from tests.support.postgres import new_database, server
from tests.support.server_log import creations, find_duplicates, most_in_any_window

pytestmark = pytest.mark.container

ROOT = Path(__file__).resolve().parents[2]
USERS = {"the image's own": (), "one without a name": ("12345:12345",), "another group": ("54321:7",)}
LIMITS = ("--memory", "512m", "--pids-limit", "64")
"""The memory of the manifests; a run has its scheduler and a thread for each request on the wire."""


def test_the_line_of_the_readme_works_for_a_user_id_without_a_name(
    engine: Engine, image: str, world: World, tmp_path: Path
) -> None:
    """Word for word, in a folder with jobs and a token; what it prints is printed here."""
    text = (ROOT / "README.md").read_text("utf-8")
    match = re.search(r"^    docker (run .*? tesnap)\n", text, re.DOTALL | re.MULTILINE)
    assert match is not None
    assert match[0] in (ROOT / "docs" / "container.md").read_text("utf-8")
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copytree(world.job_folder(3), folder / "jobs")
    shutil.copy(world.token_file(), folder / "token")
    engine.act("tag", image, "localhost/tesnap")
    with engine.volume() as volume:
        line = match[1].replace("tesnap-store", volume)
        ended = engine.type(f"id() {{ echo 12345; }}; $PODMAN {line}", folder)
    print(ended.stdout, ended.stderr, sep="\n")
    assert ended.code == 0, ended.stderr
    assert ended.records[-1]["counts"]["created"] == 3


def test_the_command_of_the_public_workflow_works(engine: Engine, image: str, tmp_path: Path) -> None:
    """The example job file, rehearsed: its store goes where alone something may be written."""
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    match = re.search(r"docker run --rm ([^$]*\$PWD\S+) tesnap (rehearse .*)", text)
    assert match is not None
    (tmp_path / "jobs").mkdir()
    shutil.copy(ROOT / "jobs.example.yaml", tmp_path / "jobs")
    options = shlex.split(match[1].replace("\\\n", "").replace("$PWD", str(tmp_path)))
    ended = engine.run(image, *match[2].split(), options=options, hardened=False)
    assert ended.code == 0, ended.stderr
    print(ended.stderr.splitlines()[-1])


@pytest.mark.parametrize("user", USERS)
def test_any_user_writes_the_store_and_nothing_else(
    engine: Engine, image: str, world: World, user: str
) -> None:
    """Three snapshots are made; the same run again sends nothing; the root file system takes nothing."""
    chosen = [word for name in USERS[user] for word in ("--user", name)]
    with engine.volume() as volume:
        options = [*world.mounts(world.job_folder(3), volume), *chosen, "--env", "TESNAP_RUN_ID=night-1"]
        first = engine.run(image, options=options)
        again = engine.run(image, options=options)
        beside = engine.run(
            image,
            "-c",
            "import pathlib\nfor p in ('/', '/opt/tesnap', '/tmp', '/etc'):\n"
            "    try: (pathlib.Path(p) / 'x').write_text('')\n    except OSError as e: print(e.strerror)",
            options=[*options, "--entrypoint", "python"],
        )
    assert (first.code, first.records[-1]["counts"]["created"]) == (0, 3), first.stderr
    assert (again.code, again.records[-1]["counts"]["created"]) == (0, 3), again.stderr
    assert len(world.posts) == 3
    assert beside.stdout.splitlines() == ["Read-only file system"] * 4
    print(first.stderr.splitlines()[-1])


def test_a_store_that_nobody_named_is_a_volume_all_the_same(engine: Engine, image: str, world: World) -> None:
    """Without a mount the engine makes a volume of no name: the run works, and its store goes with the container."""
    mounts = world.mounts(world.job_folder(2), "unused")[:-2]
    ended = engine.run(image, options=[*mounts, "--user", "12345:12345"])
    assert ended.code == 0, ended.stderr


def test_a_run_fits_into_the_limits_of_the_manifests(engine: Engine, image: str, world: World) -> None:
    """Forty snapshots within the memory that they allow, and few processes."""
    with engine.volume() as volume:
        ended = engine.run(image, options=[*world.mounts(world.job_folder(40), volume), *LIMITS])
    assert ended.code == 0, ended.stderr


def test_a_run_that_has_too_little_memory_is_carried_on_with_more(
    engine: Engine, image: str, world: World
) -> None:
    """The kernel kills it at whatever point it is; with enough memory the same command makes everything once."""
    with engine.volume() as volume:
        options = [*world.mounts(world.job_folder(40), volume), "--env", "TESNAP_RUN_ID=night-1"]
        small = engine.run(image, options=[*options, "--memory", "24m", "--memory-swap", "24m"])
        whole = engine.run(image, options=[*options, *LIMITS])
    assert small.code in {1, 2, 137}, small
    assert whole.code == 0, whole.stderr
    assert len(creations(world.log)) == 40
    assert find_duplicates(world.log) == {}


def pod_options(world: World, jobs: Path, volume: str, run_id: str) -> list[str]:
    """What the manifests start a pod with."""
    settings = ("--user", "65532:65532", "--env", f"TESNAP_RUN_ID={run_id}", "--env", "TESNAP_LINKS=id")
    return [*world.mounts(jobs, volume), *LIMITS, *settings]


def database_options() -> list[str]:
    """The variables of overlays/postgresql, and its folder for temporary files."""
    patch = yaml.safe_load((KUBERNETES / "overlays" / "postgresql" / "on-a-database.yaml").read_text("utf-8"))
    (container,) = patch["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    settings = [f"{entry['name']}={entry['value']}" for entry in container["env"]]
    variables = [word for setting in settings for word in ("--env", setting)]
    return [*variables, "--tmpfs", "/var/lib/tesnap:mode=1777"]


def test_a_pod_on_a_database_has_its_address_from_a_file(engine: Engine, image: str, world: World) -> None:
    """With the variables of the manifests: what one pod made, the next one finds there."""
    with server() as postgres:
        address = world.folder / "store"
        address.mkdir()
        (address / "url").write_text(new_database(postgres, "night") + "\n")
        mounts = world.mounts(world.job_folder(3), "unused")[:-2]
        options = [*mounts, *database_options(), "--volume", f"{address}:/run/secrets/store:ro"]
        first = engine.run(image, options=options)
        again = engine.run(image, options=options)
    assert (first.code, first.records[-1]["counts"]["created"]) == (0, 3), first.stderr
    assert (again.code, again.records[-1]["counts"]["existing"]) == (0, 3), again.stderr
    assert len(world.posts) == 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """A night that is over: how its four pods ended, and what everybody who watches was told."""

    first_process: str
    cut_off: list[int]
    replaced: list[Ended]
    metrics: str
    switch: Switch
    log: list[LoggedRequest]


NIGHT = {"early": (20, "tesnap-nightly-1-aaaa"), "late": (30, "tesnap-nightly-2-bbbb")}
"""Two job files with twenty snapshots in common: how many each has, and the run id of its pods."""

SECONDS = 6.0
"""Seconds of the limit of five: the night is long enough for whoever comes to drain it."""


@pytest.fixture(scope="module")
def rehearsed(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    """Two CronJobs overlap on one store; one pod is killed, one is drained, both are replaced."""
    folder = tmp_path_factory.mktemp("night")
    with (
        serve_world(folder, limit=5, period=SECONDS) as world,
        serve_switch() as switch,
        engine.volume() as volume,
    ):
        store = engine.volume_folder(volume)
        pods = [
            [*pod_options(world, night_jobs(world, name), volume, run_id), *world.ping_mount(switch, name)]
            for name, (_, run_id) in NIGHT.items()
        ]
        first, second = (engine.start(image, options=options) for options in pods)
        wait_until(lambda: states(store).count("created") >= 5, "the first snapshots")
        first_process = first.execute("python", "-c", "print(open('/proc/1/cmdline').read())").stdout
        first.signal("KILL")
        second.stop()
        cut_off = [pod.wait().code for pod in (first, second)]
        replaced = [engine.start(image, options=options) for options in pods]
        done = [pod.wait() for pod in replaced]
        metrics = engine.run(image, "metrics", options=pods[0]).stdout
        return Rehearsed(
            first_process=first_process,
            cut_off=cut_off,
            replaced=done,
            metrics=metrics,
            switch=switch,
            log=world.log,
        )


def night_jobs(world: World, name: str) -> Path:
    """The job files of one of the two, with the switch that watches it."""
    return world.job_folder(NIGHT[name][0], name=name, extra="ping: {url_file: /run/secrets/ping}\n")


def test_two_pods_of_one_night_make_each_snapshot_once(rehearsed: Rehearsed) -> None:
    """One was killed, the other drained; their replacements carry on: nothing twice, nothing over the limit, no link shown."""
    assert "tesnap" in rehearsed.first_process
    assert rehearsed.cut_off == [137, 5]
    assert [one.code for one in rehearsed.replaced] == [0, 0], [one.stderr for one in rehearsed.replaced]
    assert len(creations(rehearsed.log)) == 30
    assert find_duplicates(rehearsed.log) == {}
    (organization,) = {str(entry.organization) for entry in creations(rehearsed.log)}
    assert most_in_any_window(rehearsed.log, organization, SECONDS) <= 5
    assert [one for one in rehearsed.replaced if "https://" in one.stdout + one.stderr] == []
    print([one.records[-1]["counts"] for one in rehearsed.replaced])


def test_the_switch_hears_of_each_start_and_of_each_end(rehearsed: Rehearsed) -> None:
    """A killed pod says nothing more, a drained one that it will be carried on, and each replacement that all is made."""
    assert rehearsed.switch.moments("early") == ["start", "start", "success"]
    assert rehearsed.switch.moments("late") == ["start", "log", "start", "success"]
    print(rehearsed.switch.told)


def test_the_metrics_of_the_night_are_read_from_the_store(rehearsed: Rehearsed) -> None:
    """By a pod that comes afterwards: both jobs succeeded, and each has all of its snapshots."""
    samples = re.findall(r'^(\w+){name="(\w+)"(?:,result="(\w+)")?} (\S+)$', rehearsed.metrics, re.MULTILINE)
    snapshots = dict.fromkeys(NIGHT, 0)
    for metric, name, result, value in samples:
        if metric == "tesnap_last_run_snapshots" and result in {"created", "existing"}:
            snapshots[name] += int(float(value))
    succeeded = {name for metric, name, _, _ in samples if metric == "tesnap_last_success_timestamp_seconds"}
    codes = {
        name: float(value) for metric, name, _, value in samples if metric == "tesnap_last_run_exit_code"
    }
    assert (succeeded, codes) == (set(NIGHT), dict.fromkeys(NIGHT, 0.0)), rehearsed.metrics
    assert snapshots == {name: count for name, (count, _) in NIGHT.items()}
    print(rehearsed.metrics)
