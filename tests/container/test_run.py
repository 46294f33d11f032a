"""The README's command: as any user, on any volume, within the limits of the manifests, and again after it was killed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.container.engine import Engine
from tests.container.pods import World, serve_world, states, wait_until
from tests.support.server_log import creations, find_duplicates, most_in_any_window

pytestmark = pytest.mark.container

ROOT = Path(__file__).resolve().parents[2]
USERS = {"the image's own": (), "one without a name": ("12345:12345",), "another group": ("54321:7",)}
LIMITS = ("--memory", "512m", "--pids-limit", "64")
"""The memory of the manifests; a run has its scheduler and a thread for each request on the wire."""


def readme_options() -> list[str]:
    """The options of the command at the head of the Dockerfile, which the README names."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    match = re.search(r"#   run: +(docker run .*?) tesnap\n", text, re.DOTALL)
    assert match is not None
    return shlex.split(re.sub(r"\\\n# +", "", match[1]))[2:]


def test_the_command_of_the_dockerfile_is_the_one_that_is_tried_here() -> None:
    """Read-only, a user, and three mounts at the places that these tests mount."""
    options = readme_options()
    places = [re.sub(r":ro$", "", word).split(":")[1] for word in options if ":/" in word]
    assert places == ["/jobs", "/run/secrets/te/token", "/var/lib/tesnap"]
    assert {"--rm", "--read-only", "--user"} <= set(options)


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


def test_two_pods_of_one_night_make_each_snapshot_once(engine: Engine, image: str, tmp_path: Path) -> None:
    """A night rehearsed: two CronJobs overlap on one store; one pod is killed, one is drained, both are replaced.

    Their job files have twenty of their snapshots in common.
    """
    runs = {"early": (20, "tesnap-nightly-1-aaaa"), "late": (30, "tesnap-nightly-2-bbbb")}
    # Five in six seconds: the night is long enough for whoever comes to drain it.
    with serve_world(tmp_path, limit=5, period=6.0) as world, engine.volume() as volume:
        store = engine.volume_folder(volume)
        pods = [
            pod_options(world, world.job_folder(count, name=name), volume, run_id)
            for name, (count, run_id) in runs.items()
        ]
        first, second = (engine.start(image, options=options) for options in pods)
        wait_until(lambda: states(store).count("created") >= 5, "the first snapshots")
        first.signal("KILL")
        second.stop()
        ends = [pod.wait().code for pod in (first, second)]
        replaced = [engine.start(image, options=options) for options in pods]
        done = [pod.wait() for pod in replaced]
        log = world.log
    assert ends == [137, 5]
    assert [one.code for one in done] == [0, 0], [one.stderr for one in done]
    assert len(creations(log)) == 30
    assert find_duplicates(log) == {}
    (organization,) = {str(entry.organization) for entry in creations(log)}
    assert most_in_any_window(log, organization, 6.0) <= 5
    assert [one for one in done if "https://" in one.stdout + one.stderr] == []
    print([one.records[-1]["counts"] for one in done])
