"""Tables and sentences in the room that a terminal has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from orchestrator.output.table import SHORTEST, Column, table_lines, wrap_line

WORDS = st.text(st.characters(categories=["L", "N", "So"]), min_size=1, max_size=30)
SENTENCES = st.lists(WORDS, min_size=1, max_size=30).map(" ".join)
COLUMNS = (
    Column(head="id"),
    Column(head="name", most=40),
    Column(head="type", least=12),
    Column(head="tags", most=36),
    Column(head="end"),
)
ROWS = st.lists(st.tuples(*[st.text("abc é字", max_size=50).map(str.strip)] * 5), min_size=1, max_size=5)


@given(SENTENCES, st.integers(0, 12), st.integers(40, 120))
def test_a_wrapped_sentence_has_all_its_words_and_breaks_none(text: str, indent: int, room: int) -> None:
    """Its lines fit, unless a single word does not."""
    lines = list(wrap_line(" " * indent + text, room))
    assert " ".join(lines).split() == text.split()
    assert all(cell_len(line) <= room or len(line.split()) == 1 for line in lines)


@given(SENTENCES)
def test_away_from_a_terminal_a_line_is_as_long_as_it_is(text: str) -> None:
    """A machine reads it, or somebody's pager."""
    assert list(wrap_line(text, None)) == [text]


def test_what_follows_stands_under_the_text() -> None:
    """Of a check, of its remedy, of a paragraph."""
    assert list(wrap_line("  ok       token: the token in the file is valid", 30)) == [
        "  ok       token: the token in",
        "           the file is valid",
    ]
    assert list(wrap_line("           do this: correct the id", 31)) == [
        "           do this: correct the",
        "           id",
    ]
    assert list(wrap_line("run k7f2: 10 of 10 settled: 9 created", 30)) == [
        "run k7f2: 10 of 10 settled: 9",
        "  created",
    ]


def test_an_address_is_never_broken() -> None:
    """On a line of its own it can be clicked, however long it is."""
    address = "https://app.thousandeyes.com/view/tests/?testId=281474976710807&__a=2001"
    assert list(wrap_line(f"look at {address}", 40)) == ["look at", f"  {address}"]


@given(ROWS, st.integers(40, 160))
def test_a_table_fits_or_has_lines_of_single_cells(rows: list[tuple[str, ...]], room: int) -> None:
    """No line is wider than the terminal, but for a cell that is so by itself."""
    for line in table_lines(COLUMNS, rows, room=room):
        assert cell_len(line) <= room or "  " not in line.strip()


@given(ROWS, st.integers(40, 160))
def test_what_has_to_be_read_to_its_end_is_never_cut(rows: list[tuple[str, ...]], room: int) -> None:
    """Only what may be cut is, and enough is left to recognize it by."""
    text = "\n".join(table_lines(COLUMNS, rows, room=room))
    for key, name, kind, _, end in rows:
        assert all(cell in text for cell in (key, kind, end))
        assert name[: SHORTEST // 2 - 1] in text


@given(ROWS)
def test_a_table_with_room_enough_is_the_one_of_a_file(rows: list[tuple[str, ...]]) -> None:
    """The same lines: the room changes nothing until it is too small."""
    assert list(table_lines(COLUMNS, rows, room=1000)) == list(table_lines(COLUMNS, rows))
