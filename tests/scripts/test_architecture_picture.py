"""The picture of the house shows the imports as they are."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from scripts.architecture_picture import PICTURE, floors, picture
from scripts.house_figures import House

ROOT = Path(__file__).resolve().parents[2]
HOUSE = House(ROOT)


def test_the_picture_in_the_docs_is_up_to_date() -> None:
    """`make architecture` would draw the same."""
    assert PICTURE.read_text(encoding="utf-8") == picture(HOUSE, floors(ROOT))


def test_every_package_is_a_room_and_every_import_a_turn() -> None:
    """As many rooms as packages, each once; as many numbers as there are pairs of packages, with their sum."""
    drawing = ET.fromstring(picture(HOUSE, floors(ROOT)))  # noqa: S314 - our own text
    texts = [
        (element.get("class"), element.text) for element in drawing.iter() if element.tag.endswith("text")
    ]
    assert sorted(text or "" for kind, text in texts if kind == "name") == HOUSE.top_names
    counts = sorted(int(text or 0) for kind, text in texts if kind == "count")
    assert counts == sorted(len(modules) for modules in HOUSE.importing_modules.values())


def test_every_way_leads_down() -> None:
    """No package imports from one that stands above it or beside it."""
    ways = re.findall(r'class="way" d="M\d+ (\d+)H\d+V(\d+)"', picture(HOUSE, floors(ROOT)))
    assert ways
    assert [(start, end) for start, end in ways if int(start) >= int(end)] == []


def test_a_package_without_a_floor_is_not_drawn_and_missed() -> None:
    """The floors are those of the contract, siblings together, what stands apart last."""
    layers = floors(ROOT)
    assert (layers[0], layers[-1]) == (["cli"], ["simulator"])
    assert ["planning", "worker"] in layers
    assert sorted(name for layer in layers for name in layer) == HOUSE.top_names


def test_what_the_page_names_is_there() -> None:
    """Each function and class that the journey names exists, in one of the files that stand beside it."""
    page = PICTURE.with_name("architecture.md").read_text(encoding="utf-8")
    for station in page.split("\n\n"):
        files = re.findall(r"\(\.\./orchestrator/([\w/]+\.py)\)", station)
        assert not files or len(files) >= 3
        beside = [module for module in HOUSE.modules if module.path in files]
        defined = {node.name for module in beside for node in (*module.functions, *module.classes)}
        assert {name for name in re.findall(r"`(\w+_\w+)`", station) if files} <= defined
