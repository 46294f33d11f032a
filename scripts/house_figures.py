"""Measure how the package is built: `python scripts/house_figures.py [OLD_TREE] [NEW_TREE]` prints a table.

Without a tree it measures the one it stands in, with two it sets them side by side. A tree is a folder that
holds `orchestrator/`; nothing of it is imported. `tests/test_project.py` holds bounds on these figures.
"""

from __future__ import annotations

import ast
import statistics
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "orchestrator"

BACKWARD_OPENINGS = frozenset({"What", "Whether", "Who", "Whoever", "Whose", "Why", "That"})
"""First words of a docstring that describes from behind instead of saying what the thing is."""

_IRREGULAR = """
beaten been begun bent bitten blown born borne bought bound broken brought built caught chosen dealt done drawn
driven drunk dug eaten fallen fed felt forgotten fought found frozen given gone grown heard held hidden hung kept
known laid led left lent lost made meant met mistaken overtaken paid proven ridden risen said seen sent shaken
shown slept slid sold sought spent spoken spun stolen stood struck stuck sung sunk swept sworn swum taken taught
thought thrown told torn understood undone withdrawn withheld woken won worn written
"""
IRREGULAR_PARTICIPLES = frozenset(_IRREGULAR.split())
"""Participles that do not end in -ed. Those that are also the verb's plain form (`come`, `cut`, `put`, `read`, `set`,
`run`, `split`) are left out: as a function's first word they are orders."""

_PLAIN = (
    "bed bleed breed deed embed exceed feed hundred indeed need proceed red sacred seed shed speed succeed"
)
PLAIN_WORDS_IN_ED = frozenset(_PLAIN.split())
"""Words in -ed that are verbs in their plain form, nouns or adjectives."""

PROPERTY_DECORATORS = ("property", "cached_property", "setter")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One file of the package: its dotted name, its path below the package, and its syntax tree."""

    name: str
    path: str
    text: str
    tree: ast.Module
    is_package: bool

    @property
    def lines(self) -> int:
        """How many there are."""
        return self.text.count("\n")

    @property
    def functions(self) -> list[Function]:
        """Every function and method, inner ones included."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @property
    def classes(self) -> list[ast.ClassDef]:
        """Every class, inner ones included."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]


class House:
    """The package of one tree, and its figures."""

    def __init__(self, root: Path) -> None:
        """Read every module below the folder; OSError where there is none."""
        self._root = root
        self.folder = root / PACKAGE
        self.modules = [self._read(path) for path in sorted(self.folder.rglob("*.py"))]
        if not self.modules:
            raise FileNotFoundError(f"{root} holds no {PACKAGE}/ with modules")

    def _read(self, path: Path) -> Module:
        inside = path.relative_to(self._root).with_suffix("")
        is_package = inside.name == "__init__"
        text = path.read_text(encoding="utf-8")
        return Module(
            name=".".join((inside.parent if is_package else inside).parts),
            path=path.relative_to(self.folder).as_posix(),
            text=text,
            tree=ast.parse(text),
            is_package=is_package,
        )

    # -- sizes -----------------------------------------------------------------------------------------

    @property
    def top_names(self) -> list[str]:
        """The modules and packages directly below the package, as one imports them."""
        names = (module.name.split(".") for module in self.modules)
        return sorted({parts[1] for parts in names if len(parts) == 2 and not parts[1].startswith("__")})

    @property
    def lines(self) -> int:
        """Of all modules, comments and empty ones included."""
        return sum(module.lines for module in self.modules)

    @property
    def statements(self) -> int:
        """By the syntax tree: neither docstrings nor imports."""
        return sum(_is_counted(node) for module in self.modules for node in ast.walk(module.tree))

    @property
    def function_lengths(self) -> dict[str, int]:
        """Lines of every function from `def` to its end, by its file and first line."""
        return {
            f"{module.path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
            for module in self.modules
            for node in module.functions
        }

    @property
    def class_sizes(self) -> dict[str, int]:
        """Methods of every class, properties and those with underscores included, by its file and name."""
        return {
            f"{module.path} {node.name}": sum(isinstance(child, Function) for child in node.body)
            for module in self.modules
            for node in module.classes
        }

    # -- words -----------------------------------------------------------------------------------------

    @property
    def docstrings(self) -> list[tuple[str, str]]:
        """The place and text of every docstring."""
        return [
            (f"{module.path}:{getattr(node, 'lineno', 1)}", text)
            for module in self.modules
            for node in ast.walk(module.tree)
            if isinstance(node, Documented) and (text := ast.get_docstring(node))
        ]

    @property
    def backward_docstrings(self) -> list[str]:
        """The places of those that open with What, Whether, Who, Whoever, Whose, Why or That."""
        return [place for place, text in self.docstrings if _first_word(text) in BACKWARD_OPENINGS]

    @property
    def function_names(self) -> list[tuple[str, str]]:
        """The place and name of every function and method that is no property: what one calls."""
        return [
            (f"{module.path}:{node.lineno}", node.name)
            for module in self.modules
            for node in module.functions
            if not is_property(node)
        ]

    @property
    def participle_names(self) -> list[str]:
        """The places and names of functions whose first word is a past participle."""
        return [f"{place} {name}" for place, name in self.function_names if is_participle(name)]

    @property
    def repeated_class_names(self) -> dict[str, int]:
        """Names that more than one class has, and how many have it."""
        times = Counter(node.name for module in self.modules for node in module.classes)
        return {name: count for name, count in times.items() if count > 1}

    # -- imports ---------------------------------------------------------------------------------------

    @cached_property
    def imports(self) -> Graph:
        """The modules that each module imports, wherever in it; through a package's face the ones behind it."""
        known = {module.name: module for module in self.modules}
        faces = {module.name: offered_names(module.tree) for module in self.modules if module.is_package}
        return {
            module.name: frozenset(
                target
                for target in _imported(module, known, faces)
                if target != module.name and not _passes_on(module, target)
            )
            for module in self.modules
        }

    @cached_property
    def importing_modules(self) -> Mapping[tuple[str, str], set[str]]:
        """For each two names at the top, of which the first imports from the second: its modules that do."""
        rooms = set(self.top_names)
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for module, targets in self.imports.items():
            above = _top(module)
            for below in {_top(target) for target in targets} & rooms - {above}:
                if above in rooms:
                    found[above, below].add(module)
        return found

    @property
    def package_imports(self) -> Graph:
        """The names at the top of the package that each of them imports."""
        pairs = self.importing_modules
        return {name: frozenset(below for above, below in pairs if above == name) for name in self.top_names}

    @property
    def contract_layers(self) -> int:
        """The layers of imports that import-linter proves for the package."""
        settings = tomllib.loads((self._root / "pyproject.toml").read_text("utf-8"))
        contracts = settings["tool"]["importlinter"]["contracts"]
        return sum(
            len(contract["layers"])
            for contract in contracts
            if contract["type"] == "layers" and contract.get("containers", [PACKAGE]) == [PACKAGE]
        )


# -- counting ----------------------------------------------------------------------------------------


def _is_counted(node: ast.AST) -> bool:
    if not isinstance(node, ast.stmt) or isinstance(node, ast.Import | ast.ImportFrom):
        return False
    return not (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _first_word(docstring: str) -> str:
    return docstring.split(maxsplit=1)[0].strip("`*,.:;")


def is_participle(name: str) -> bool:
    """True if the first word of a function's name is a past participle."""
    word = name.strip("_").split("_")[0]
    return word in IRREGULAR_PARTICIPLES or (word.endswith("ed") and word not in PLAIN_WORDS_IN_ED)


def is_property(node: Function) -> bool:
    """True if the function is read like a field."""
    names = (ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list)
    return any(name in PROPERTY_DECORATORS for name in names)


# -- imports -----------------------------------------------------------------------------------------


def offered_names(face: ast.Module) -> dict[str, str]:
    """The names that a package's face imports from other modules, with the module of each."""
    guarded = [statement for node in face.body if isinstance(node, ast.If) for statement in node.body]
    return {
        alias.name: node.module
        for node in (*face.body, *guarded)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _imported(
    module: Module, known: Mapping[str, Module], faces: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Names of the package's modules that a module imports, and of those behind a face that it imports from."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in known:
            behind = faces.get(node.module, {})
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else behind.get(alias.name, node.module)


def _passes_on(module: Module, target: str) -> bool:
    """True for what a package's face offers: that is nobody's import until it is used."""
    return module.is_package and target.startswith(f"{module.name}.")


def _top(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def longest_chain(graph: Graph) -> list[str]:
    """The most nodes that lie one below the other, from the top; those that import one another are one node."""
    groups = strongly_connected(graph)
    group_of = {name: group for group in groups for name in group}
    longest: dict[frozenset[str], list[str]] = {}
    for group in groups:  # each comes after those that it imports
        below = {group_of[target] for name in group for target in graph.get(name, ()) if target in group_of}
        tail = max((longest[other] for other in below - {group}), key=len, default=[])
        longest[group] = [" = ".join(sorted(group)), *tail]
    return max(longest.values(), key=len, default=[])


def strongly_connected(graph: Graph) -> list[frozenset[str]]:
    """The groups of nodes that reach one another, a group after all that it imports (Kosaraju's two walks)."""
    importers: dict[str, set[str]] = defaultdict(set)
    for name, targets in graph.items():
        for target in targets:
            importers[target].add(name)
    seen: set[str] = set()
    order = [name for start in sorted(graph) for name in _walk(start, importers, seen)]
    seen.clear()
    inside = {name: targets & graph.keys() for name, targets in graph.items()}
    groups = [frozenset(_walk(start, inside, seen)) for start in reversed(order)]
    return [group for group in groups if group]


def _walk(start: str, graph: Mapping[str, Iterable[str]], seen: set[str]) -> list[str]:
    """The nodes that are reached first from here, each after those that it leads to."""
    if start in seen:
        return []
    seen.add(start)
    return [node for target in sorted(graph.get(start, ())) for node in _walk(target, graph, seen)] + [start]


# -- the table ---------------------------------------------------------------------------------------


def figures(house: House) -> dict[str, str]:
    """The rows of the table: what each figure is, and the figure."""
    lengths = sorted(house.function_lengths.values())
    class_name, methods = max(house.class_sizes.items(), key=lambda item: item[1], default=("-", 0))
    backward, docstrings = len(house.backward_docstrings), len(house.docstrings)
    participles, functions = len(house.participle_names), len(house.function_names)
    return {
        "names at the top of the package": str(len(house.top_names)),
        "modules": str(len(house.modules)),
        "lines": f"{house.lines:,}",
        "statements, without docstrings and imports": f"{house.statements:,}",
        "longest module, lines": str(max(module.lines for module in house.modules)),
        "function: median / 95th percentile / longest, lines": _spread(lengths),
        "methods of the largest class": f"{methods} ({class_name.rpartition(' ')[2]})",
        "docstrings that open with What, Whether, Who, Whoever, Whose, Why, That": _share(
            backward, docstrings
        ),
        "functions named by a participle": _share(participles, functions),
        "class names that stand for more than one class": str(len(house.repeated_class_names)),
        "longest chain of imports: packages": str(len(longest_chain(house.package_imports))),
        "longest chain of imports: modules": str(len(longest_chain(house.imports))),
        "layers in the contract of imports": str(house.contract_layers),
    }


def _spread(lengths: list[int]) -> str:
    if len(lengths) < 2:
        return " / ".join(map(str, lengths * 3))
    return f"{statistics.median(lengths):g} / {statistics.quantiles(lengths, n=20)[-1]:.0f} / {lengths[-1]}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f} % ({part} of {whole:,})"


def table(columns: Mapping[str, House]) -> str:
    """The figures of each tree in Markdown, a column for each."""
    measured = {name: figures(house) for name, house in columns.items()}
    rows = [["", *measured], ["---", *("---:" for _ in measured)]]
    rows += [[what, *(found[what] for found in measured.values())] for what in next(iter(measured.values()))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(arguments: list[str]) -> None:
    """Print the table of the trees that are named, or of this one."""
    trees = [Path(argument) for argument in arguments] or [Path(__file__).resolve().parent.parent]
    names = ["before", "after"] if len(trees) == 2 else [tree.resolve().name for tree in trees]
    sys.stdout.write(table({name: House(tree) for name, tree in zip(names, trees, strict=True)}))


if __name__ == "__main__":
    main(sys.argv[1:])
