"""The pages of docs/decisions: each has a number of its own, and the list names all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
PAGES = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))


def numbers(names: list[str]) -> list[int]:
    """The numbers that the files' names begin with."""
    return [int(name.partition("-")[0]) for name in names]


def test_no_number_is_used_twice_or_left_out() -> None:
    """Whoever says "decision 17" means one page."""
    assert numbers(PAGES) == list(range(len(PAGES)))


def test_the_list_has_every_page_in_order_under_its_number() -> None:
    """A row links a number to the page that has it."""
    rows = re.findall(r"^\| \[(\d+)\]\(([^)]+)\)", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [name for _, name in rows] == PAGES
    assert [int(number) for number, _ in rows] == numbers(PAGES)


@pytest.mark.parametrize("name", PAGES[1:])
def test_a_page_has_its_number_in_its_heading(name: str) -> None:
    """The template's heading has none."""
    heading = (FOLDER / name).read_text("utf-8").partition("\n")[0]
    assert heading.startswith(f"# {name[:4]}: ")


def test_a_link_to_a_decision_says_its_number() -> None:
    """A page that got another number is not referred to by its old one."""
    pages = [FOLDER.parent.parent / "README.md", *FOLDER.parent.rglob("*.md")]
    for page in pages:
        found = re.findall(r"\[(?:decision )?(\d{4})\]\([^)]*?(\d{4})-[^)/]*\.md\)", page.read_text("utf-8"))
        assert [pair for pair in found if pair[0] != pair[1]] == [], page.name
