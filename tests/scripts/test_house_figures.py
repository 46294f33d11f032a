"""The figures of the house, counted on a tiny tree that one can count by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.house_figures import House, is_participle, longest_chain, strongly_connected, table

FILES: Mapping[str, str] = {
    "orchestrator/__init__.py": '"""The package."""\n',
    "orchestrator/__main__.py": "from orchestrator.above import start\n\nstart()\n",
    "orchestrator/above/__init__.py": (
        '"""What stands above."""\n\nfrom orchestrator.above.door import start\n'
    ),
    "orchestrator/above/door.py": '''\
"""The way in."""

from orchestrator.below import Thing


def start():
    """Whether it starts."""
    from orchestrator.above import window

    return window.made(Thing())
''',
    "orchestrator/above/window.py": "def made(thing):\n    return thing\n\n\nclass Thing:\n    pass\n",
    "orchestrator/below/__init__.py": "from orchestrator.below.things import Thing\n",
    "orchestrator/below/things.py": '''\
class Thing:
    """A thing."""

    @property
    def needed(self):
        return True

    def taken_by(self, who):
        def seed():
            return who

        return seed()
''',
    "pyproject.toml": """\
[[tool.importlinter.contracts]]
type = "layers"
containers = ["orchestrator"]
layers = ["above", "below"]

[[tool.importlinter.contracts]]
type = "layers"
containers = ["orchestrator.above"]
layers = ["door", "window"]
""",
}


@pytest.fixture
def house(tmp_path: Path) -> House:
    """The tiny tree, on disk."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House(tmp_path)


def test_sizes_are_counted(house: House) -> None:
    """Names, modules, lines and statements; docstrings and imports are no statements."""
    assert house.top_names == ["above", "below"]
    assert [module.path for module in house.modules][:2] == ["__init__.py", "__main__.py"]
    assert len(house.modules) == 7
    assert house.lines == sum(text.count("\n") for name, text in FILES.items() if name.endswith(".py"))
    assert house.statements == len(["start()"]) + 2 + 4 + 7


def test_a_function_is_as_long_as_its_lines_and_a_class_as_large_as_its_methods(house: House) -> None:
    """From `def` to the end; a method inside a method is none of the class."""
    assert house.function_lengths["above/door.py:6 start"] == 5
    assert house.function_lengths["below/things.py:8 taken_by"] == 5
    assert house.class_sizes == {"above/window.py Thing": 0, "below/things.py Thing": 2}


def test_words_are_judged(house: House) -> None:
    """Docstrings from behind, names by participles but not of properties, and a name for two classes."""
    assert (house.backward_docstrings, len(house.docstrings)) == (
        ["above/__init__.py:1", "above/door.py:6"],
        5,
    )
    assert house.participle_names == ["above/window.py:1 made", "below/things.py:8 taken_by"]
    assert [name for _, name in house.function_names] == ["start", "made", "taken_by", "seed"]
    assert house.repeated_class_names == {"Thing": 2}


@pytest.mark.parametrize("name", ["made", "_told", "__taken_by__", "planned_for", "asked"])
def test_a_participle_is_seen(name: str) -> None:
    """Regular or not, private or not."""
    assert is_participle(name)


@pytest.mark.parametrize("name", ["make", "seed", "_need", "feed_back", "read_start", "run", "find_made", ""])
def test_a_plain_word_is_none(name: str) -> None:
    """Nor is a participle that comes later in the name."""
    assert not is_participle(name)


def test_imports_go_through_a_face_to_what_is_behind_it(house: House) -> None:
    """The module that defines a name is imported, wherever the import stands."""
    assert house.imports["orchestrator.above.door"] == {
        "orchestrator.above.window",
        "orchestrator.below.things",
    }
    assert house.package_imports == {"above": {"below"}, "below": set()}
    assert longest_chain(house.package_imports) == ["above", "below"]
    assert house.imports["orchestrator.above"] == set()
    assert longest_chain(house.imports)[:2] == ["orchestrator.__main__", "orchestrator.above.door"]
    assert len(longest_chain(house.imports)) == 3  # one of the two below
    assert house.contract_layers == 2


def test_those_that_import_one_another_are_one_link_of_a_chain() -> None:
    """A circle has no top and no bottom."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"d"}}
    frozen = {name: frozenset(targets) for name, targets in graph.items()}
    assert set(strongly_connected(frozen)) == {
        frozenset("a"),
        frozenset("bc"),
        frozenset("d"),
        frozenset("e"),
    }
    assert longest_chain(frozen) == ["a", "b = c", "d"]
    assert longest_chain({}) == []


def test_the_table_sets_trees_side_by_side(house: House) -> None:
    """A column for each, a row for each figure."""
    head, line, *rows = table({"before": house, "after": house}).splitlines()
    assert (head, line) == ("|  | before | after |", "| --- | ---: | ---: |")
    cells = [row.strip("|").split("|") for row in rows]
    assert all(old == new for _, old, new in cells)
    assert "| docstrings that open with" in rows[7]
    assert rows[7].endswith("| 40.0 % (2 of 5) |")


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    """A wrong path is no empty house."""
    with pytest.raises(FileNotFoundError, match="holds no orchestrator/"):
        House(tmp_path)
