"""The project's own rules: what a linter cannot say, each shown red on a planted violation."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from scripts.house_figures import House, offered_names

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "orchestrator"
HOUSE = House(ROOT)
TEXTS = (".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".sh", ".sql", ".j2", ".json", "")

MODULE_LINES = 500
"""A module longer than this hides a noun. The number may only fall."""

FUNCTION_LINES = 40
"""A function longer than this does two things. The number may only fall."""

CLASS_METHODS = 20
"""A class with more methods is several; properties count. The number may only fall."""

TOP_NAMES = 14
"""What a stranger finds at the top of the package: more of them are no map. The number may only fall."""

BACKWARD_DOCSTRINGS = 0.02
"""The share of docstrings that may open with What, Whether, Who, Whoever, Whose, Why or That. It may only fall."""

PARTICIPLES = 0.03
"""The share of functions that may be named by a participle. It may only fall."""

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


def missing_docstring(tree: ast.Module) -> Iterator[int]:
    """Line 1 of a module that does not say what it is for."""
    if not ast.get_docstring(tree):
        yield 1


def own_paths(text: str) -> list[str]:
    """Paths that exist only on somebody's machine."""
    return re.findall(r"/(?:root|home/\w+|Users/\w+)/[\w.]+", text)


Rule = Callable[[ast.Module], Iterator[int]]

EXEMPT: dict[Rule, tuple[str, ...]] = {
    # The simulator's server keeps its own time.
    clock_calls: ("core/clock.py", "simulator/server.py"),
    # An attempt carries what the caller's own code raised through urllib3, and back to it.
    broad_excepts: ("cli/", "__main__.py", "simulator/__main__.py", "api/attempt.py"),
    missing_docstring: (),
}
"""Each rule, and the modules and packages that it is not for."""

PLANTED: dict[str, tuple[Rule, str]] = {
    "clock": (clock_calls, "import time\ntime.sleep(1)\n"),
    "calendar": (clock_calls, "from datetime import UTC, datetime\nx = datetime.now(UTC)\n"),
    "except": (broad_excepts, "try:\n    f()\nexcept (OSError, Exception):\n    pass\n"),
    "bare": (broad_excepts, "try:\n    f()\nexcept:\n    pass\n"),
    "docstring": (missing_docstring, "x = 1\n"),
}


@pytest.mark.parametrize("rule", EXEMPT, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    """No module of the package breaks a rule of CONTRIBUTING.md."""
    modules = [module for module in HOUSE.modules if not module.path.startswith(EXEMPT[rule])]
    assert [f"{module.path}:{line}" for module in modules for line in rule(module.tree)] == []


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_violation_is_found(kind: str) -> None:
    """Each rule goes red on a module that breaks it."""
    rule, planted = PLANTED[kind]
    assert list(rule(ast.parse(planted)))


# ----------------------------------------------------------------- the house, by its figures


def test_modules_stay_short() -> None:
    """No module outgrows what one can read in a sitting."""
    lengths = {module.path: module.lines for module in HOUSE.modules}
    assert {name: n for name, n in lengths.items() if n > MODULE_LINES} == {}


def test_functions_stay_short() -> None:
    """None has more lines than the bound."""
    assert {name: n for name, n in HOUSE.function_lengths.items() if n > FUNCTION_LINES} == {}


def test_classes_stay_small() -> None:
    """None has more methods than the bound."""
    assert {name: n for name, n in HOUSE.class_sizes.items() if n > CLASS_METHODS} == {}


def test_the_top_of_the_package_can_be_taken_in_at_a_glance() -> None:
    """A dozen rooms, not a hundred."""
    assert len(HOUSE.top_names) <= TOP_NAMES, HOUSE.top_names


def test_docstrings_say_what_the_thing_is() -> None:
    """Hardly any describes from behind."""
    backward = HOUSE.backward_docstrings
    assert len(backward) <= BACKWARD_DOCSTRINGS * len(HOUSE.docstrings), backward


def test_functions_are_named_by_verbs_and_nouns() -> None:
    """Hardly any tells what has happened instead of what it does."""
    participles = HOUSE.participle_names
    assert len(participles) <= PARTICIPLES * len(HOUSE.function_names), participles


def test_a_class_name_stands_for_one_thing() -> None:
    """Whoever reads it need not ask which."""
    assert HOUSE.repeated_class_names == {}


# ----------------------------------------------------------------- the map and the faces


def on_the_map(docstring: str) -> set[str]:
    """The words by which the map may name a module: before two spaces or a colon, or in parentheses."""
    heads = re.findall(r"^    (\w+)  +", docstring, re.MULTILINE)
    asides = re.findall(r"; (\w+):", docstring)
    inside = ", ".join(re.findall(r"\(([\w, ]+)\)", docstring)).split(", ")
    return {*heads, *asides, *inside} - {""}


def test_the_map_has_every_module_and_no_other() -> None:
    """Who looks for a module finds it at the top of the package."""
    assert on_the_map(orchestrator.__doc__ or "") == set(HOUSE.top_names)


@pytest.mark.parametrize("package", [*HOUSE.top_names, "output.report"])
def test_the_map_of_a_package_has_every_module_and_no_other(package: str) -> None:
    """A package's docstring leads to the module that one looks for."""
    face = importlib.import_module(f"orchestrator.{package}")
    if package != "cli":  # its map are the commands
        there = {module.name for module in pkgutil.iter_modules(face.__path__)} - {"__main__"}
        assert on_the_map(face.__doc__ or "") == there


def test_a_module_that_is_not_on_the_map_is_found() -> None:
    """The map is read as people read it."""
    assert on_the_map("    one     what; two: that (three, four)\n") == {"one", "two", "three", "four"}


FACES = [name for name in HOUSE.top_names if (PACKAGE / name / "__init__.py").is_file()]
LAZY_FACES = [name for name in FACES if "lazy_face" in (PACKAGE / name / "__init__.py").read_text("utf-8")]


def offered(package: str) -> dict[str, str]:
    """The names that a package offers, with the modules that define them."""
    (face,) = (module for module in HOUSE.modules if module.name == f"orchestrator.{package}")
    inside = f"orchestrator.{package}."
    return {name: module for name, module in offered_names(face.tree).items() if module.startswith(inside)}


@pytest.mark.parametrize("package", FACES)
def test_what_a_package_offers_is_there_and_is_no_module_below_it(package: str) -> None:
    """A lazy name that is a module's name too would give the module, whichever was imported first."""
    face = importlib.import_module(f"orchestrator.{package}")
    names = offered(package)
    assert [name for name in names if not hasattr(face, name)] == []
    assert [name for name in names if is_module(PACKAGE / package, name)] == []
    assert [name for name, module in names.items() if not is_module(ROOT, module.replace(".", "/"))] == []


def is_module(folder: Path, name: str) -> bool:
    """True if a file or a package of that name is in the folder."""
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()


@pytest.mark.parametrize("package", LAZY_FACES)
def test_what_a_package_offers_is_used_outside_it(package: str) -> None:
    """A face is what others need of a package: what only tests or its own modules use is no part of it."""
    face = f"orchestrator.{package}"
    outside = [module for module in HOUSE.modules if not f"{module.name}.".startswith(f"{face}.")]
    used = {name for module in outside for name in used_of(face, module.tree)}
    assert sorted(set(offered(package)) - used) == []


def used_of(face: str, tree: ast.Module) -> Iterator[str]:
    """The names that a module imports from a package, or reads from it as attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == face:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in (face, face.rpartition(".")[2]):
            yield node.attr


def test_a_name_that_nobody_uses_is_found() -> None:
    """The search above sees an import and an attribute, and nothing else."""
    tree = ast.parse(
        "from orchestrator.core import Job\nfrom orchestrator import core\ncore.Task\nother.Window\n"
    )
    assert set(used_of("orchestrator.core", tree)) == {"Job", "Task"}


IMPORT_EACH = """
import importlib, os, sys
import click, jinja2, psycopg, requests, rich.live, structlog, tenacity, yaml
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        module = importlib.import_module(name)
        missing = [word for word in getattr(module, "__all__", ()) if not hasattr(module, word)]
        sys.stdout.write(f"{name} lacks {missing}\\n" if missing else "")
        sys.stdout.flush()
        os._exit(bool(missing))
    if os.waitpid(child, 0)[1]:
        print(f"{name} cannot be imported first")
"""
"""Libraries are imported once; each module then has an interpreter to itself in which nothing of ours is imported."""


@pytest.mark.process
def test_each_module_can_be_the_first_that_is_imported(tmp_path: Path) -> None:
    """A circle of imports behind a lazy face shows only to whoever comes in at the right place."""
    names = [module.name for module in HOUSE.modules if not module.name.endswith("__main__")]
    assert failures_of_imports(names, ROOT, tmp_path / "bytecode") == ""


@pytest.mark.process
def test_a_circle_of_imports_is_found(tmp_path: Path) -> None:
    """One of its two modules imports, and the other does not."""
    package = tmp_path / "circle"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("from circle.two import second\nfirst = 1\n")
    (package / "two.py").write_text("second = 2\nfrom circle.one import first\n")
    said = failures_of_imports(["circle.one", "circle.two"], tmp_path, tmp_path / "bytecode")
    assert said == "circle.one cannot be imported first\n"


def failures_of_imports(names: list[str], root: Path, bytecode: Path) -> str:
    """What went wrong, a line for each module that does not import by itself."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": str(bytecode)}
    command = [sys.executable, "-W", "ignore", "-c", IMPORT_EACH, *names]
    return subprocess.run(
        command, cwd=root, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.mark.process
def test_the_package_works_from_an_archive(tmp_path: Path) -> None:
    """A zipapp is one file: what a face offers is not read by a path."""
    archive = shutil.make_archive(str(tmp_path / "tesnap"), "zip", ROOT, PACKAGE.name)
    command = [sys.executable, "-m", PACKAGE.name, "validate", "-"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": archive, "TE_TOKEN": "from-the-environment"},
        input="version: 1\njobs: [{name: one, tests: [1], windows: [{last: 1h}]}]\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("stdin: ok, 1 job for 1 organization\n", "")


PLANTED_IMPORTS = {
    "upward": ("core/text.py", "from orchestrator.worker import Worker", "Imports point down the pipeline"),
    "past a face": ("app/examine.py", "from orchestrator.core.jobs import Job", "A package is used through"),
}


@pytest.mark.process
@pytest.mark.parametrize("kind", PLANTED_IMPORTS)
def test_the_contracts_of_imports_turn_red(kind: str, tmp_path: Path) -> None:
    """One line too many in a copy of the tree breaks the contract that it is against."""
    path, line, contract = PLANTED_IMPORTS[kind]
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / PACKAGE.name / path).open("a", encoding="utf-8") as module:
        module.write(f"{line}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    broken = re.findall(r"^(.+) BROKEN\b", done.stdout, re.MULTILINE)
    assert done.returncode == 1
    assert [name for name in broken if name.startswith(contract)] == broken != []


# ----------------------------------------------------------------- nothing of one machine


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
        *(data["dependency-groups"][name] for name in ("build", "dev")),
    ]
    return distributions(groups)


def distributions(groups: list[list[str]]) -> set[str]:
    """The names in lists of requirements, in lower case."""
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for group in groups for line in group}


def locked(name: str) -> dict[str, str]:
    """The versions in a lock file, by distribution."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", "\n".join(lines), re.MULTILINE))


LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", LOCKS)
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
    tools = {re.split(r"\[", name)[0] for name in distributions([pyproject()["dependency-groups"]["tools"]])}
    assert tools - set(locked("requirements-tools.lock")) == set()


def test_every_dependency_is_accounted_for() -> None:
    """docs/dependencies.md has a row for each distribution that pyproject.toml names."""
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8").lower()
    named = required() | distributions([pyproject()["dependency-groups"]["tools"]])
    assert {name for name in named if name not in text} == set()


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
