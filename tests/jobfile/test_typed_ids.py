"""Ids of tests as people bring them: read where they mean one thing, asked about where they could mean two."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import UsageError
from orchestrator.jobfile.typed_ids import read_test_ids
from tests.support.commands import LONGEST


def test_ids_come_from_the_line_and_from_standard_input() -> None:
    """A dash stands for the ids on standard input, where comments and commas are allowed; repeats count once."""
    stdin = io.StringIO("202702 # Login\n202703,202701\n\n")
    assert read_test_ids(("202701", "-", "202704,202705"), stdin) == (
        "202701",
        "202702",
        "202703",
        "202704",
        "202705",
    )
    assert read_test_ids((), None) == ()


@pytest.mark.parametrize(
    ("words", "text"), [(("checkout",), "--test-name"), (("-",), "standard input has no test id")]
)
def test_what_is_no_id_is_refused(words: tuple[str, ...], text: str) -> None:
    """A name in the place of an id says which option takes names."""
    with pytest.raises(UsageError, match=text):
        read_test_ids(words, io.StringIO(""))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff202701\r\n202702\r\n",
        "testId\r\n202701\r\n202702\r\n",
        "\ufeffTest ID\n202701\n202702\n",
        '"Test ID"\n"202701"\n"202702"\n',
        "202701;202702;\n",
        "202701\t202702",
        "202701, 202702,\n",
        "202701,202702",
        "202701\n\n202702\n202701\n",
        "[202701, 202702]",
        '["202701","202702"]',
        '[\n  "202701",\n  "202702"\n]\n',
        "\u201c202701\u201d\u00a0'202702'",
        "202701.0\n202702.00\n",
        "https://app.thousandeyes.com/view/tests/?testId=202701\nhttps://app.thousandeyes.com/view/tests/?__a=1,2&testId=202702#x",
        "https://api.thousandeyes.com/v7/tests/202701 https://api.eu1.thousandeyes.com/v7/tests/http-server/202702?aid=11",
        "# today's\n202701 # Checkout\n202702",
    ],
)
def test_what_means_one_thing_is_read_so(text: str) -> None:
    """From standard input and, but for heads and comments, as arguments."""
    assert read_test_ids(("-",), io.StringIO(text, newline="")) == ("202701", "202702")
    if "#" not in text and "est" not in text.lower().replace("tests/", "").replace("testid=", ""):
        assert read_test_ids((text,), None) == ("202701", "202702")


@pytest.mark.parametrize(
    "text", ["202,701", "'202,701'", "1,202,701", "202.701", "202\u00a0701", "202'701", "[202,701]"]
)
def test_what_could_be_one_id_or_several_is_asked_about(text: str) -> None:
    """A spreadsheet writes thousands so; both ways to write it are named."""
    for words, stdin in (((text,), None), (("-",), io.StringIO(f"{text}\n"))):
        with pytest.raises(UsageError, match=r"202 701, or 1?202701$") as caught:
            read_test_ids(words, stdin)
        assert "can be" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/?testId=202701",
        "https://app.thousandeyes.com.evil.example/?testId=202701",
        "https://app.thousandeyes.com/view/tests/?testId=202701&testId=202702",
        "https://app.thousandeyes.com/view/tests/",
        "https://[app/?testId=1",
        "202701,Checkout",
        "2.02701E+05",
        "-202701",
        "\u0662\u0660\u0662",
        "202701.5",
        '[{"testId": 202701}]',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match="is not a test id"):
        read_test_ids(("-",), io.StringIO(text))


@given(
    st.lists(st.integers(1000, 10**15), min_size=1, unique=True),
    st.sampled_from([" ", ",", ", ", ";", "\r\n", "\t", " \n,"]),
)
def test_ids_between_any_separators_are_those_ids(ids: list[int], between: str) -> None:
    """In their order, each once."""
    text = between.join(map(str, [*ids, *ids]))
    assert read_test_ids(("-",), io.StringIO(text)) == tuple(map(str, ids))


@pytest.mark.process
def test_a_spreadsheets_column_is_read_by_a_real_command(tmp_path: Path) -> None:
    """By a pipe: the ambiguous one ends with exit code 2 before anything is sent."""
    for piped, code in (("\ufefftestId\r\n202701\r\n", 4), ("202,701\n", 2)):
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "snap", "-", "--last", "1h", "--dry-run"],
            cwd=tmp_path,
            env={
                "PATH": os.defpath,
                "HOME": str(tmp_path),
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TE_TOKEN": "token-of-nobody-1",
                "TE_BASE_URL": "http://127.0.0.1:1/v7",
            },
            input=piped.encode(),
            capture_output=True,
            check=False,
            timeout=LONGEST,
        )
        assert (done.returncode == 2) == (code == 2), done.stderr
        assert (b"can be 2 test ids" in done.stderr) == (code == 2)
        assert b"is not a test id" not in done.stderr
