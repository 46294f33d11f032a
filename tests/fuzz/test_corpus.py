"""The fuzzer's corpus through the readers, without the fuzzer."""

from __future__ import annotations

import pytest

from tests.fuzz.corpus import read_corpus
from tests.fuzz.readers import READERS


@pytest.mark.parametrize("name", READERS)
def test_what_the_fuzzer_kept_raises_only_our_own_errors(name: str) -> None:
    """Each case of the corpus is read, or refused in the program's own words."""
    cases = read_corpus(name)
    assert cases, "python -m tests.fuzz --keep"
    for case in cases:
        READERS[name](case)
