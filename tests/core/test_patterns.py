"""Patterns for names and tags: what they match, and what is near when they match nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import patterns

TEXT = st.text(alphabet="aB.[*?]x ", max_size=12)


@given(TEXT, TEXT)
def test_a_pattern_without_wildcards_is_a_part(text: str, pattern: str) -> None:
    """Without * and ? a pattern means what `in` means, case aside."""
    plain = pattern.replace("*", "").replace("?", "")
    assert patterns.is_like(text, plain) == (plain.casefold() in text.casefold())


@given(TEXT)
def test_every_text_matches_itself_and_the_star(text: str) -> None:
    """A text is matched by itself, by a star and by as many question marks as it has characters."""
    assert patterns.matches(text, text)
    assert patterns.matches(text, "*")
    assert patterns.matches(text, "?" * len(text))


def test_nearest_of_three_thousand_names_is_found() -> None:
    """A misspelt word finds the names that have it, however many there are."""
    names = [f"Service {number} latency" for number in range(3000)] + ["Checkout Frankfurt"]
    assert patterns.nearest_names("chekout", names) == ("Checkout Frankfurt",)
