"""The image itself: what is in it, what is not, and what the faults that were once in it look like."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator
from scripts import sbom
from scripts.manifests import TOOLS
from tests.container.engine import Engine
from tests.container.pods import World
from tests.test_project import locked

pytestmark = pytest.mark.container

COMPILERS = ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "cargo", "rustc")

BYTE_CODE = """
import importlib.util, pathlib, sys, sysconfig
stale, seen = [], 0
for top in ("/opt/tesnap/lib", sysconfig.get_path("stdlib")):
    for source in pathlib.Path(top).rglob("*.py"):
        if "/test/" in str(source) or "/dist-packages/" in str(source):
            continue
        made = pathlib.Path(importlib.util.cache_from_source(str(source)))
        seen += 1
        # The second word of a file of byte code: 1 says that it is by a hash, and that nobody checks it.
        if not made.exists() or made.read_bytes()[4] != 1:
            stale.append(str(source))
print(seen, *stale[:5])
"""


@pytest.fixture(scope="module")
def root(engine: Engine, image: str) -> Iterator[Path]:
    """The image's files, to look at."""
    place = Path(engine.act("image", "mount", image).stdout.strip())
    yield place
    engine.act("image", "unmount", image)


def run_python(engine: Engine, image: str, text: str) -> str:
    """What a script prints within the image."""
    ended = engine.run(image, "-c", text, options=["--entrypoint", "python"])
    assert ended.code == 0, ended.stderr
    return ended.stdout


def test_the_image_says_what_it_is(engine: Engine, image: str) -> None:
    """Labels, user, volume, how it is started and stopped."""
    found = engine.inspect(image)
    labels, config = found["Labels"], found["Config"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == "tesnap"
    assert labels[f"{prefix}version"] == orchestrator.__version__
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert labels[f"{prefix}base.name"] == engine.base()
    assert (config["User"], config["Entrypoint"]) == ("65532:65532", ["tesnap"])
    assert (config["Cmd"], list(config["Volumes"])) == (["run", "/jobs"], ["/var/lib/tesnap"])
    assert config["StopSignal"] in {"SIGTERM", "15"}


def test_nothing_that_builds_or_installs_is_left(root: Path) -> None:
    """No compiler, no pip, not even the wheel that would bring it back; nothing of the build."""
    places = [root / top / "bin" for top in ("opt/tesnap", "usr/local", "usr")]
    assert [f"{place}/{name}" for place in places for name in COMPILERS if (place / name).exists()] == []
    assert [str(found) for found in root.glob("**/pip*/__init__.py")] == []
    assert [str(found) for found in root.glob("**/pip-*.whl")] == []
    assert [str(found) for found in root.glob("**/setuptools/__init__.py")] == []
    assert not (root / "src").exists()


def test_the_build_leaves_nothing_of_the_machine_that_it_ran_on(root: Path) -> None:
    """Where pip looked for packages is nobody's business."""
    assert not (root / "etc/pip.conf").exists() or (root / "etc/pip.conf").read_text() == ""
    assert not (root / "root/.cache").exists()


def test_all_byte_code_is_compiled(engine: Engine, image: str) -> None:
    """Of the program, its libraries and the standard library, so that no start compiles anything."""
    seen, *stale = run_python(engine, image, BYTE_CODE).split()
    assert stale == []
    assert int(seen) > 1000


def test_the_bill_of_materials_names_what_is_installed(root: Path, tmp_path: Path) -> None:
    """It is a CycloneDX document, and has the program and every library of the lock in its version."""
    bill = sbom.document(root)
    file = tmp_path / "sbom.cdx.json"
    file.write_text(json.dumps(bill))
    check = (
        "import sys; from cyclonedx.validation.json import JsonStrictValidator as V;"
        "from cyclonedx.schema import SchemaVersion as S;"
        "e = V(S.V1_6).validate_str(open(sys.argv[1]).read()); sys.exit(str(e) if e else 0)"
    )
    subprocess.run([TOOLS / "python", "-c", check, file], check=True)
    names = {one["name"].lower().replace("_", "-"): one["version"] for one in bill["components"]}
    lock = locked("requirements.lock")
    # For another system, for another Python than 3.13, or for the building alone.
    unneeded = {"colorama", "psycopg-c", "typing-extensions", "setuptools"}
    assert {name: version for name, version in lock.items() if name not in unneeded} == {
        name: names.get(name) for name in lock if name not in unneeded
    }
    assert names["thousandeyes-snapshot-orchestrator"] == orchestrator.__version__
    print(f"{len(bill['components'])} components")


def test_its_size_and_contents_can_be_listed(root: Path) -> None:
    """By what it is for; nothing is in it that nobody can name."""
    sizes: Counter[str] = Counter()
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            sizes[part_of(path.relative_to(root).as_posix())] += path.stat().st_size
    for part, size in sizes.most_common():
        print(f"{size / 1e6:7.1f} MB  {part}")
    assert sizes["the program"] > 0
    assert sizes["its libraries"] > 0


def part_of(path: str) -> str:
    """What a file of the image belongs to."""
    if path.startswith("opt/tesnap/"):
        return "the program" if "/orchestrator/" in path or "thousandeyes" in path else "its libraries"
    if "python3" in path:
        return "Python (with its byte code)"
    return "Debian"


# ------------------------------------------------------------------------- faults that it once had

PLANTED = {
    "the folder itself is copied": ("/opt/image/ /", "/opt/image/var/lib/tesnap /var/lib/tesnap"),
    "the folder is root's": ('"-m", "1777"', '"-m", "0755"'),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_store_that_nobody_may_write_is_found(
    engine: Engine, image: str, context: Path, world: World, tmp_path: Path, name: str
) -> None:
    """With either fault the README's own command ends with exit code 2, for a user id without a name."""
    here, there = PLANTED[name]
    spoilt = shutil.copytree(context, tmp_path / "context")
    text = (spoilt / "Dockerfile").read_text()
    assert text.count(here) == 1
    (spoilt / "Dockerfile").write_text(text.replace(here, there))
    broken = engine.build(spoilt, tag="localhost/tesnap:spoilt", BASE=engine.base())
    with engine.volume() as volume:
        options = [*world.mounts(world.job_folder(1), volume), "--user", "12345:12345"]
        ended = engine.run(broken, options=options)
    assert ended.code == 2, ended
    assert "/var/lib/tesnap" in ended.stderr
