"""The pod to look in and carry on: each line of docs/kubernetes.md that is typed into it works as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from scripts.manifests import KUBERNETES, PAGE
from tests.container.engine import Container, Ended, Engine
from tests.container.pods import LIMIT, serve_world
from tests.support.server_log import creations, find_duplicates

pytestmark = pytest.mark.container

TASKS = LIMIT + 10
"""More than go out at once: the run is stopped before its second round."""

PERIOD, DEADLINE = 15.0, "8s"
"""Seconds of the limit, and when the run is stopped: after its plan, on a busy machine too."""

INTO = "kubectl --namespace tesnap exec"


def lines() -> list[str]:
    """The lines of the page that are typed into the pod, in their order."""
    return re.findall(rf"^\$ ({INTO} .*)$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_the_page_has_a_line_for_each_thing_to_do() -> None:
    """Look, settle, carry on, take a backup and put it back."""
    commands = {word for line in lines() for word in re.findall(r"-- tesnap (\w+)", line)}
    assert commands == {"runs", "status", "report", "settle", "resume", "backup", "restore"}


@contextmanager
def look_in(engine: Engine, image: str, options: list[str]) -> Iterator[Container]:
    """A container that is started as look.yaml starts its pod, and waits."""
    pod = yaml.safe_load((KUBERNETES / "look.yaml").read_text("utf-8"))["spec"]
    program, *words = pod["containers"][0]["command"]
    container = engine.start(image, *words, options=[*options, "--entrypoint", program])
    try:
        yield container
    finally:
        container.signal("KILL")
        container.wait()


def type_in(container: Container, line: str, folder: Path) -> Ended:
    """What the line does, with this engine in the place of the cluster; a test has no terminal."""
    line = re.sub(rf"^{INTO} (-i)?t? ?tesnap-look --", rf"$PODMAN exec \1 {container.name}", line)
    return container.engine.type(line, folder)


def test_what_is_typed_into_the_pod_works(engine: Engine, image: str, tmp_path: Path) -> None:
    """A stopped run is looked at, its store is put back from a backup, and it is carried on: nothing is made twice."""
    with serve_world(tmp_path, period=PERIOD) as world, engine.volume() as volume:
        options = world.mounts(world.job_folder(TASKS, name="jobs", timeout=5.0), volume)
        stopped = engine.run(image, "run", "/jobs", "--deadline", DEADLINE, options=options)
        with look_in(engine, image, options) as container:
            typed = sorted(lines(), key=lambda line: "tesnap resume" in line)  # after everything else
            ended = [(line, type_in(container, line, tmp_path)) for line in typed]
        log = world.log
    assert stopped.code == 5, stopped.stderr
    assert [(line, one) for line, one in ended if one.code] == []
    assert ended[-1][1].records[-1]["counts"]["created"] == TASKS
    assert len(creations(log)) == TASKS
    assert find_duplicates(log) == {}
