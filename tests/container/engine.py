"""podman with storage of its own: builds the image and runs containers of it; what this machine lends pip is lent to the build."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.container.base import base_archive, cache

ROOT = Path(__file__).resolve().parents[2]

TAG = "localhost/tesnap:test"
"""The image of the project as it stands."""

STOP_TIMEOUT = 25
"""Seconds from SIGTERM to SIGKILL: what a user has to allow at least is 20 for what is on the wire, and a few to write."""

RUN_ROOT = "/run/tesnap-container"
"""What podman has to forget when the machine starts anew; always the same beside its storage."""

LONGEST = 300.0
"""Seconds after which a container that a test started is given up."""

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
"""No more open files and processes than a machine that is a container itself may hand on; no systemd asked for groups;
the simulator is on the host's loopback."""

HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
)
"""What the README's command and the manifests ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a container ended, and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records on its standard output."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Engine:
    """One podman; `folder` holds what lasts no longer than a test run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = folder / "containers.conf"
        settings.write_text(CONTAINERS_CONF)
        policy = folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._environ = {**os.environ, "CONTAINERS_CONF": str(settings), "TMPDIR": str(folder)}
        storage = cache() / "storage"
        self._words = ("podman", "--root", str(storage), "--runroot", RUN_ROOT, "--log-level=error")
        self._build_words = ("--signature-policy", str(policy))

    def act(self, *words: str | Path, check: bool = True, longest: float = LONGEST) -> Ended:
        """Run podman with these words."""
        done = subprocess.run(
            [*self._words, *map(str, words)],
            env=self._environ,
            cwd=self.folder,  # conmon notes there that a container ran out of memory
            capture_output=True,
            text=True,
            check=False,
            timeout=longest,
        )
        if check and done.returncode:
            raise AssertionError(f"podman {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def type(self, line: str, folder: Path) -> Ended:
        """Run a line in a shell, in this folder; `$PODMAN` is this podman."""
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            env={**self._environ, "PODMAN": " ".join(self._words)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def base(self) -> str:
        """The name of the base image, imported if it is not there yet."""
        archive = base_archive()
        name = f"localhost/tesnap-base:{archive.stem.removeprefix('base-')}"
        if self.act("image", "exists", name, check=False).code:
            self.act("import", "--change", 'CMD=["python3"]', archive, name)
        return name

    def build(self, context: Path, *, tag: str, **arguments: str) -> str:
        """Build the Dockerfile of this folder; the image's name."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        mounts = [word for mount in lend_pip(self.folder) for word in ("--volume", mount)]
        self.act(
            "build",
            *self._build_words,
            "--network",
            "host",
            "--isolation",
            "oci",
            *given,
            *mounts,
            "--tag",
            tag,
            context,
        )
        return tag

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container or an image."""
        (found,) = json.loads(self.act("inspect", name).stdout)
        return dict(found)

    def start(self, image: str, *words: str, options: Sequence[str] = (), hardened: bool = True) -> Container:
        """Start a container in the background, on the host's network."""
        name = f"tesnap-{uuid.uuid4().hex[:8]}"
        shape = HARDENED if hardened else ()
        stop = ("--stop-timeout", str(STOP_TIMEOUT))
        self.act("run", "--detach", "--name", name, *stop, *shape, *options, image, *words)
        return Container(engine=self, name=name)

    def run(self, image: str, *words: str, options: Sequence[str] = (), hardened: bool = True) -> Ended:
        """Run a container to its end, then remove it."""
        container = self.start(image, *words, options=options, hardened=hardened)
        return container.wait()

    @contextmanager
    def volume(self) -> Iterator[str]:
        """A named volume for a while."""
        name = f"tesnap-{uuid.uuid4().hex[:8]}"
        self.act("volume", "create", name)
        try:
            yield name
        finally:
            self.act("volume", "rm", "--force", name)

    def volume_folder(self, name: str) -> Path:
        """Where the volume is on this machine."""
        return Path(self.act("volume", "inspect", "--format", "{{.Mountpoint}}", name).stdout.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container that was started."""

    engine: Engine
    name: str

    def signal(self, signal: str) -> None:
        """Send its process 1 a signal."""
        self.engine.act("kill", "--signal", signal, self.name)

    def stop(self) -> None:
        """Stop it as `docker stop` and Kubernetes do: SIGTERM, and SIGKILL after the time that it was given."""
        self.engine.act("stop", self.name)

    def is_running(self) -> bool:
        """True until its process 1 has ended."""
        return bool(self.engine.inspect(self.name)["State"]["Running"])

    def wait(self) -> Ended:
        """Wait for its end; what it printed. It is removed, with its anonymous volumes."""
        code = int(self.engine.act("wait", self.name).stdout)
        said = self.engine.act("logs", self.name)
        self.engine.act("rm", "--force", "--volumes", self.name)
        return Ended(code=code, stdout=said.stdout, stderr=said.stderr)

    def wait_or_kill(self) -> None:
        """Wait for its end as whoever stops a container does: after the stop timeout it is killed, with code 137."""
        waiting = ("wait", "--condition", "exited", self.name)
        try:
            self.engine.act(*waiting, longest=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.signal("KILL")

    def execute(self, *words: str) -> Ended:
        """Run a command beside it, as `kubectl exec` does."""
        return self.engine.act("exec", self.name, *words, check=False)


def copy_context(folder: Path) -> Path:
    """Put into this folder what the builder is given: the project's own files, as they are."""
    for name in (
        "Dockerfile",
        ".dockerignore",
        "pyproject.toml",
        "requirements.lock",
        "README.md",
        "LICENSE",
    ):
        shutil.copy(ROOT / name, folder)
    package = ROOT / "orchestrator"
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def lend_pip(folder: Path) -> Iterator[str]:
    """What pip is set to on this machine, as mounts of the build: its settings, and the files and folders that they name."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = pip_settings(listed)
    file = folder / "pip.conf"
    file.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in settings.items()), ""]))
    yield f"{file}:/etc/pip.conf:ro"
    for place in sorted({place for value in settings.values() for place in named_places(value)}):
        yield f"{place}:{place}:ro"


def pip_settings(listed: str) -> Mapping[str, str]:
    """Each setting of `pip config list`; one of a variable goes before one of a file, as for pip itself."""
    found = re.findall(r"^(global|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    kept = {name: value for source, name, value in found if source == "global"}
    return kept | {name: value for source, name, value in found if source == ":env:"}


def named_places(value: str) -> set[Path]:
    """The files and folders of this machine that a setting names."""
    words = [Path(word.removeprefix("file://")) for word in re.split(r"\s+|\\n", value)]
    return {_top_of(place) for place in words if place.is_absolute() and place.exists()}


def _top_of(place: Path) -> Path:
    """The folder of an index: the files that it lists are beside it."""
    return place.parent if place.name == "simple" else place
