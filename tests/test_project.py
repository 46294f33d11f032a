"""The project's own rules: what a linter cannot say, each shown red on a planted violation."""

from __future__ import annotations

import ast
import importlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

import orchestrator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "orchestrator"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = (".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".sh", ".sql", ".j2", ".json", "")

MODULE_LINES = 500
"""A module longer than this hides a noun. The number may only fall."""

OUTGROWN: dict[str, int] = {}
"""The modules that are longer all the same; entries may only fall or go."""

FUNCTION_LINES = 47
"""A function longer than this does two things. The number may only fall."""

CLOCK_CALLS = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "perf_counter", "sleep", "clock_gettime")),
    *(f"datetime.{name}" for name in ("now", "utcnow", "today")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    *("date.today", "datetime.date.today"),
}


def clock_calls(tree: ast.Module) -> Iterator[int]:
    """Lines that read a clock or sleep."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCK_CALLS:
            yield node.lineno


def broad_excepts(tree: ast.Module) -> Iterator[int]:
    """Lines that catch everything and keep it; one that cleans up and raises it again keeps nothing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler) or ast.unparse(node.body[-1]) == "raise":
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = {ast.unparse(kind) if kind else "everything" for kind in caught}
        if names & {"everything", "Exception", "BaseException"}:
            yield node.lineno


def long_functions(tree: ast.Module) -> Iterator[int]:
    """Lines where a function starts that is too long."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES:
            yield node.lineno


def missing_docstring(tree: ast.Module) -> Iterator[int]:
    """Line 1 of a module that does not say what it is for."""
    if not ast.get_docstring(tree):
        yield 1


def own_paths(text: str) -> list[str]:
    """Paths that exist only on somebody's machine."""
    return re.findall(r"/(?:root|home/\w+|Users/\w+)/[\w.]+", text)


def outside(*names: str) -> list[Path]:
    """The package's modules but these modules and folders."""
    return [path for path in MODULES if not set(path.relative_to(PACKAGE).with_suffix("").parts) & set(names)]


RULES: dict[str, tuple[Callable[[ast.Module], Iterator[int]], list[Path], str]] = {
    "clock": (clock_calls, outside("clock", "simulator"), "import time\ntime.sleep(1)\n"),
    "calendar": (clock_calls, MODULES, "from datetime import UTC, datetime\nx = datetime.now(UTC)\n"),
    "except": (
        broad_excepts,
        outside("cli", "__main__"),
        "try:\n    f()\nexcept (OSError, Exception):\n    pass\n",
    ),
    "bare": (broad_excepts, outside("cli", "__main__"), "try:\n    f()\nexcept:\n    pass\n"),
    "length": (long_functions, MODULES, "def f():\n" + "    pass\n" * FUNCTION_LINES),
    "docstring": (missing_docstring, MODULES, "x = 1\n"),
}
KEPT_APART: dict[Callable[[ast.Module], Iterator[int]], tuple[str, ...]] = {
    clock_calls: ("core/clock.py", "simulator/server.py"),  # the simulator's server keeps its own time
    broad_excepts: (
        "api/attempt.py",
    ),  # carries what the caller's own code raised through urllib3, and back to it
}


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule: str) -> None:
    """No module of the package breaks a rule of CONTRIBUTING.md."""
    find, paths, _ = RULES[rule]
    kept_apart = KEPT_APART.get(find, ())
    assert [
        f"{path.relative_to(ROOT)}:{line}"
        for path in paths
        if path.relative_to(PACKAGE).as_posix() not in kept_apart
        for line in find(ast.parse(path.read_text(encoding="utf-8")))
    ] == []


@pytest.mark.parametrize("rule", RULES)
def test_a_planted_violation_is_found(rule: str) -> None:
    """Each rule goes red on a module that breaks it."""
    find, _, planted = RULES[rule]
    assert list(find(ast.parse(planted)))


def test_modules_stay_short() -> None:
    """No module outgrows what one can read in a sitting."""
    lengths = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8").count("\n") for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > OUTGROWN.get(name, MODULE_LINES)} == {}


def test_an_exception_is_no_larger_than_it_has_to_be() -> None:
    """A module that has become shorter gives its room back."""
    lengths = {name: (PACKAGE / name).read_text("utf-8").count("\n") for name in OUTGROWN}
    assert {name: n for name, n in lengths.items() if n <= MODULE_LINES or OUTGROWN[name] - n > 20} == {}


def on_the_map(docstring: str) -> set[str]:
    """The words by which the map may name a module: before two spaces or a colon, or in parentheses."""
    heads = re.findall(r"^    (\w+)  +", docstring, re.MULTILINE)
    asides = re.findall(r"; (\w+):", docstring)
    inside = ", ".join(re.findall(r"\(([\w, ]+)\)", docstring)).split(", ")
    return {*heads, *asides, *inside} - {""}


def test_the_map_has_every_module_and_no_other() -> None:
    """Who looks for a module finds it at the top of the package."""
    there = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if _is_module(path)}
    assert on_the_map(orchestrator.__doc__ or "") == there


def _is_module(path: Path) -> bool:
    return (path.suffix == ".py" and not path.stem.startswith("__")) or (path / "__init__.py").exists()


def test_a_module_that_is_not_on_the_map_is_found() -> None:
    """The map is read as people read it."""
    assert on_the_map("    one     what; two: that (three, four)\n") == {"one", "two", "three", "four"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_all_names_can_be_imported(path: Path) -> None:
    """Every module imports, and every name in its `__all__` is there."""
    if path.name == "__main__.py":
        return  # importing it would start the program
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def tracked() -> Iterator[Path]:
    """The project's text files, without what tools and environments leave behind."""
    for top in ROOT.iterdir():
        if top.name.startswith(
            (".venv", ".git", ".mypy", ".ruff", ".pytest", ".hypothesis", ".import_linter")
        ):
            continue
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts:
                yield path


def test_no_file_names_a_path_of_one_machine() -> None:
    """What the project says is true on every machine."""
    found = {
        path.relative_to(ROOT).as_posix(): own_paths(path.read_text("utf-8", "replace")) for path in tracked()
    }
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_a_path_of_one_machine_is_found() -> None:
    """The search above sees one when it is there."""
    assert own_paths("see /" + "home/ann/notes.txt and /" + "root/x") != []


# ----------------------------------------------------------------- what is written down agrees


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def required() -> set[str]:
    """Every distribution that pyproject.toml names, in lower case."""
    data = pyproject()
    groups = [
        data["project"]["dependencies"],
        *data["project"]["optional-dependencies"].values(),
        *data["dependency-groups"].values(),
    ]
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for group in groups for line in group}


def locked(name: str) -> dict[str, str]:
    """The versions in a lock file, by distribution."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", "\n".join(lines), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_hashes_and_no_address(name: str) -> None:
    """A lock installs the same files from whatever index is set, and from no other place."""
    text = (ROOT / name).read_text("utf-8")
    assert not re.search(r"https?:|://|--(extra-)?index|--find-links|--trusted-host| @ ", text)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_locks_hold_what_is_required_and_agree() -> None:
    """Nothing is required that the locks leave out, and a version is the same in both."""
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert required() - set(dev) == set()
    assert {name: version for name, version in run.items() if dev.get(name) != version} == {}


def test_every_dependency_is_accounted_for() -> None:
    """docs/dependencies.md has a row for each distribution that pyproject.toml names."""
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8").lower()
    assert {name for name in required() if name not in text} == set()


def test_the_build_backend_is_the_locked_one() -> None:
    """What builds the package is in the lock, so that nothing else is fetched for it."""
    data = pyproject()
    assert data["build-system"]["requires"] == data["dependency-groups"]["build"]


def test_package_data_reaches_the_package() -> None:
    """Every file of the package that is not Python is named by pyproject.toml."""
    patterns = pyproject()["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert files
    assert [path.name for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns)] == []


def test_the_changelog_has_this_version() -> None:
    """Whoever upgrades finds what changed."""
    assert f"\n## {orchestrator.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# ------------------------------------------------------------------------------------- container


def dockerfile(instruction: str) -> list[list[str]]:
    """The words of each such line."""
    lines = re.findall(rf"^{instruction} (.+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    return [json.loads(line) if line.startswith("[") else line.split() for line in lines]


def shown_steps() -> str:
    """What `make container-steps` does, in the words of the Dockerfile."""
    script = (ROOT / "scripts" / "container-steps.sh").read_text("utf-8").replace('"', "")
    for here, there in (("$place/base/bin/", ""), ("$python", "python")):
        script = script.replace(here, there)
    return script.replace("$place", "").replace("$source/", "")


def is_shown(words: list[str]) -> bool:
    return re.search(rf"^{re.escape(' '.join(words))}( |$)", shown_steps(), re.MULTILINE) is not None


@pytest.mark.parametrize("words", dockerfile("RUN"), ids=" ".join)
def test_a_step_of_the_image_is_shown(words: list[str]) -> None:
    """Every command of the Dockerfile is one of `make container-steps`, down to its last word."""
    assert is_shown(words)
    assert not is_shown([*words[:-1], "else"])


def test_what_is_copied_into_the_image_is_shown_and_not_kept_away() -> None:
    """The same files, and .dockerignore lets them in."""
    copied = [name for words in dockerfile("COPY") if "--from=builder" not in words for name in words[:-1]]
    taken = " ".join(re.findall(r"^cp .*", shown_steps(), re.MULTILINE)).split()
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert copied
    assert [name for name in copied if name not in taken or f"!{name}" not in ignored] == []


def test_the_stores_folder_reaches_the_image_with_its_mode() -> None:
    """COPY copies what is in a folder: the one that any user id may write stands below what is copied."""
    made = [words[-1] for words in dockerfile("RUN") if words[:2] == ["install", "-d"]]
    kept = [
        words[1:]
        for words in dockerfile("COPY")
        if "--from=builder" in words and made[0].startswith(words[1])
    ]
    (volume,) = dockerfile("VOLUME")
    assert [(source, made) for source, _ in kept] == [("/opt/image/", [f"/opt/image{volume[0]}"])]
    assert f"\ncopy {' '.join(kept[0])}\n" in shown_steps()


# ------------------------------------------------------------------------------------ Kubernetes


def job_spec(name: str) -> dict[str, Any]:
    """The Job's part of a manifest."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / name).read_text("utf-8"))
    spec: dict[str, Any] = manifest["spec"]
    return spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec


@pytest.mark.parametrize("name", ["job.yaml", "cronjob.yaml"])
def test_a_pod_is_started_again_only_when_that_helps(name: str) -> None:
    """Exit code 5 is counted and started again; 1 to 4 end the Job; a drained node costs nothing."""
    rules = job_spec(name)["podFailurePolicy"]["rules"]
    codes = {code: r["action"] for r in rules if "onExitCodes" in r for code in r["onExitCodes"]["values"]}
    assert codes == {1: "FailJob", 2: "FailJob", 3: "FailJob", 4: "FailJob", 5: "Count"}
    assert [r["action"] for r in rules if "onPodConditions" in r] == ["Ignore"]
    # Required up to Kubernetes 1.34, and `True` is what its default is later.
    conditions = [condition for r in rules for condition in r.get("onPodConditions", ())]
    assert conditions == [{"type": "DisruptionTarget", "status": "True"}]
    assert job_spec(name)["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", ["job.yaml", "cronjob.yaml"])
def test_a_pod_can_write_nothing_but_the_store(name: str) -> None:
    """Read-only root, no privileges, one writable mount, and no probe that could kill a waiting run."""
    pod = job_spec(name)["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["store"]
    assert [key for key in container if key.endswith("Probe")] == []


def test_both_manifests_start_the_same_pod() -> None:
    """The nightly run differs from the single one in its schedule alone."""
    assert job_spec("job.yaml") == job_spec("cronjob.yaml")
