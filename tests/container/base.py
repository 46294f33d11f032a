"""A stand-in for `python:3.13-slim`, which no registry has to give: Debian's own Python in the places of the real one.

Where it differs from the real one: Python is Debian's build (3.13 of trixie) in /usr/bin, with links in /usr/local/bin;
its standard library is in /usr/lib. As there: pip is a real one in /usr/local, `ensurepip` has its wheel, no file marks
the environment as managed by the system, and the byte code of the standard library is taken away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SUITE = "trixie"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES = ("ca-certificates", "netbase", "tzdata", "python3.13", "python3.13-venv", "libpython3.13-stdlib")
"""The first three as in the real one's Dockerfile."""

UNLIKE = (
    "usr/lib/python3.13/EXTERNALLY-MANAGED",
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)
"""What the real one has not: its own Dockerfile, and that of debian:trixie-slim below it."""


def cache() -> Path:
    """Where the base is kept between runs, outside of the project's tree."""
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "tesnap-container"


def base_archive() -> Path:
    """The base as a tar archive; made where this file has changed or there is none yet."""
    mark = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    archive = cache() / f"base-{mark}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        tree = archive.with_suffix(".tree")
        shutil.rmtree(tree, ignore_errors=True)
        make_tree(tree)
        unfinished = archive.with_suffix(".part")
        _act("tar", "--numeric-owner", "-C", tree, "-cf", unfinished, ".")
        unfinished.rename(archive)
        shutil.rmtree(tree)
    return archive


def make_tree(tree: Path) -> None:
    """A root folder with Debian, Python and pip in it."""
    listed = ",".join(PACKAGES)
    _act("debootstrap", "--variant=minbase", f"--include={listed}", SUITE, tree, MIRROR)
    for name in UNLIKE:
        place = tree / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    for name in ("python", "python3", "python3.13"):
        (tree / "usr/local/bin" / name).symlink_to("/usr/bin/python3.13")
    bundled = tree / "usr/lib/python3.13/ensurepip/_bundled"
    bundled.mkdir(exist_ok=True)
    for wheel in tree.glob("usr/share/python-wheels/*.whl"):
        wheel.rename(bundled / wheel.name)
    _put_pip(tree)
    for folder in [*tree.glob("usr/**/__pycache__")]:
        shutil.rmtree(folder)


def _put_pip(tree: Path) -> None:
    """A real pip under /usr/local, from the wheel that this Python's pip downloads."""
    wheels = tree / "tmp" / "wheels"
    wheels.mkdir(parents=True)
    _act(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, "pip")
    (wheel,) = wheels.iterdir()
    inside = f"/tmp/wheels/{wheel.name}"  # noqa: S108 - in the tree
    install = ("install", "--quiet", "--no-index", "--no-deps", "--root-user-action", "ignore", inside)
    _act("chroot", tree, "/usr/local/bin/python", f"{inside}/pip", *install)
    shutil.rmtree(wheels)


def _act(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
