"""Tables: every row has its columns where the others have them, whatever a test is called."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len, set_cell_size

from orchestrator.core.redact import hide
from orchestrator.output import table
from orchestrator.output.table import Column, fit_text, table_lines, wrap_line

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
WARNING = "\u26a0\ufe0f"
FLAG = "\U0001f1e9\U0001f1ea"


@example(FAMILY * 3, 5)
@example(WARNING * 3, 4)
@example(FLAG * 3, 3)
@given(st.text(), st.integers(1, 40))
def test_a_fitted_text_has_exactly_its_columns(text: str, columns: int) -> None:
    """Columns stay in line, wide characters and combining marks included."""
    assert cell_len(fit_text(text, columns)) == columns


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2030)), st.integers(1, 40))
def test_a_plain_text_is_counted_without_rich_and_alike(text: str, columns: int) -> None:
    """Importing rich takes longer than most commands do."""
    assert table.cell_len(text) == cell_len(text)
    assert table.set_cell_size(text, columns) == set_cell_size(text, columns)


def test_a_cut_text_shows_that_it_is_cut() -> None:
    """An ellipsis stands for what is missing."""
    assert fit_text("Checkout", 5) == "Chec…"
    assert fit_text("決済テスト", 5) == "決済…"


def test_a_secret_is_masked_before_a_part_of_it_is_cut_off_or_stands_in_the_next_line() -> None:
    """The rest would be found by nobody."""
    hide("canary of a table 7")
    assert fit_text("the canary of a table 7", 20) == f"{'the [masked]':20}"
    assert list(wrap_line("see the canary of a table 7 at once", 20)) == ["see the [masked] at", "  once"]


def test_what_is_one_character_to_a_reader_is_not_cut_in_two() -> None:
    """Half a wide character leaves a space, and of a family nobody is left out."""
    assert fit_text("決済テスト", 4) == "決 …"
    assert fit_text(FAMILY * 2, 3) == f"{FAMILY}…"
    assert fit_text(WARNING * 2, 3) == f"{WARNING}…"
    assert fit_text(FLAG * 3, 4) == f"{FLAG}… "
    assert fit_text(FLAG * 3, 5) == f"{FLAG * 2}…"


def test_a_very_long_text_is_cut_in_one_go() -> None:
    """An API may send a name of any length; looking at it anew for each character would take minutes."""
    assert fit_text("x" * 1_000_000, 5) == "xxxx…"
    assert fit_text("e\u0301" * 9, 5) == "e\u0301" * 4 + "…"
    assert fit_text("é決" * 100_000, 5) == "é決é…"


@pytest.mark.parametrize(
    "name",
    [
        "Checkout",
        f"{FAMILY} family",
        f"{WARNING} careful",
        f"{FLAG}{FLAG} shop",
        "cafe\u0301",
        "決済テスト",
        "한글 상점",
        "\U0001f44d\U0001f3fd thumbs",
        "a very long name of a test that is cut",
    ],
)
def test_a_row_is_in_line_whatever_is_in_it(name: str) -> None:
    """Emoji of several characters, marks, wide characters and flags shift nothing that comes after them."""
    columns = (Column(head="id", least=4), Column(head="test", most=16), Column(head="window"))
    head, plain, row = table_lines(columns, [("1", "Login page of us", "14:00"), ("20270", name, "15:00")])
    assert head.index("window") == plain.index("14:00") == cell_len(row.removesuffix("15:00")) == 25


def test_what_is_to_be_typed_is_not_cut() -> None:
    """A column without a bound is as wide as its longest cell, and the others follow it."""
    lines = list(
        table_lines((Column(head="run", least=6), Column(head="job")), [("nightly-2026", "n"), ("k7f2", "m")])
    )
    assert lines == ["run           job", "nightly-2026  n", "k7f2          m"]
