"""What leaves the program: no credential, nothing that a terminal, a spreadsheet or Markdown obeys."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.api.response import clean
from orchestrator.core.hidden import Hidden
from orchestrator.core.redact import (
    escape_formula,
    escape_markdown,
    harmless,
    hide,
    holds_secret,
    looks_secret,
    mask_secrets,
    spellings,
    without_credentials,
    without_links,
)

WORD = "0a1b2c3d-4e5f"

ANNOUNCED = (
    f"Bearer {WORD}",
    f"bearer\t{WORD}",
    f"Bearer%20{WORD}",
    f"Bearer+{WORD}",
    f"Bearer {' ' * 99}{WORD}",
    f"Basic {WORD}=",
    f"authorization: Bearer {WORD}",
    f"authorization={WORD}",
    f"token={WORD}",
    f"--x-token={WORD}",
    f'"access_token": "{WORD}"',
    f"api_key: {WORD}",
    f"apikey='{WORD}'",
    f"{'x-' * 99}client-secret: {WORD}",
    f"password={WORD}",
    f"Bearer {'x' * 900}{WORD}",
)
"""What each of the three places that mask or refuse has to know: a credential follows."""

FORMS = (
    "8f3a5b1c-0d2e-4f6a-8b9c-0d1e2f3a4b5c",
    "eyJhbGciOi.eyJzdWIi",
    "0123456789abcdef0123456789abcdef",
    "bearer x",
)


@pytest.mark.parametrize("text", ANNOUNCED)
def test_a_credential_that_is_announced_never_passes(text: str) -> None:
    """Neither in an error of the API, nor in what leaves, nor quoted from a job file."""
    assert WORD not in clean(f"got {text} here", 2000)
    assert WORD not in mask_secrets(f"got {text} here")
    assert looks_secret(f"got {text} here")


@pytest.mark.parametrize("text", [*ANNOUNCED, f"\nbearer {WORD}", f"token\t=\u00a0'{WORD}"])
@pytest.mark.parametrize("wrapped", [json.dumps, repr, harmless, lambda text: json.dumps(json.dumps([text]))])
def test_a_credential_is_known_after_it_was_escaped(text: str, wrapped: Callable[[str], str]) -> None:
    """Lines are masked when they leave: as JSON, as Python or a terminal shows them."""
    assert WORD not in mask_secrets(wrapped(f"got {text} here"))


def in_csv(text: str) -> str:
    """The text as a cell."""
    line = io.StringIO()
    csv.writer(line).writerow([text])
    return line.getvalue()


def unquoted(text: str) -> str:
    """The text as JSON and Python write it, without the quotes around it."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


PRINTED = (str, json.dumps, unquoted, repr, harmless, escape_markdown, escape, quote, in_csv)
"""The ways in which the program may print a text."""


@example('it\'s "my" own', "", "", repr)
@example('a/b\\c d\n"é"', "", "", json.dumps)
@given(st.text(min_size=8, max_size=50), st.text(max_size=5), st.text(max_size=5), st.sampled_from(PRINTED))
def test_a_hidden_secret_is_found_in_every_spelling(
    secret: str, before: str, after: str, printed: Callable[[str], str]
) -> None:
    """Whatever characters it is made of, and wherever it stands."""
    hidden = Hidden()
    for form in spellings(secret):
        hidden.add(form)
    assert hidden.without(before + printed(secret) + after) != before + printed(secret) + after


@pytest.mark.parametrize("text", FORMS)
def test_what_has_the_form_of_a_credential_is_not_quoted(text: str) -> None:
    """In a job file it is one; ids that the API speaks of have the same form and are shown."""
    assert looks_secret(text)
    assert mask_secrets(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Bearer token is invalid",
        "Basic authentication failed",
        "Invalid token: expired",
        "The token expired in 2026",
        "token_file: /run/secrets/acme1",
        "Checkout EU 2026-11-20T14:00Z +2h [9b1f0c]",
    ],
)
def test_words_about_credentials_are_none(text: str) -> None:
    """They stay readable."""
    assert without_credentials(text, "***") == text


def test_a_long_text_is_looked_through_at_once() -> None:
    """Nobody who sends a long answer keeps this program busy."""
    hostile = ("token=" * 200_000, "a-" * 500_000, "bearer" + "+" * 1_000_000, "bearer " * 150_000)
    assert [len(clean(text, 500)) for text in hostile] == [500] * 4
    assert mask_secrets("token" + "\\" * 1_000_000 + "token\\t" * 150_000).endswith("token\\t")


def test_a_credential_at_the_end_of_what_is_shown_is_masked() -> None:
    """Text is cut before it is looked at, but not in the middle of what is shown."""
    shown = clean("x" * 490 + f" token={WORD * 20}", 500)
    assert WORD[:4] not in shown


def test_masking_leaves_plain_words_alone() -> None:
    """A short secret, an empty one and words about bearer tokens do not spoil a sentence."""
    hide("")
    hide("token")
    text = "Bearer authentication failed: token refused"
    assert mask_secrets(text) == text


@given(st.text())
def test_harmless_text_is_one_printable_line(text: str) -> None:
    """No character is left that a terminal obeys; printable ones stay."""
    shown = harmless(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)
    assert len(shown.splitlines()) <= 1
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("cell", ["=cmd()", "+1", "-1", "@x", " =1", "\uff1dcmd()"])
def test_no_cell_is_a_formula(cell: str) -> None:
    """A spreadsheet that opens the CSV shows a name and runs nothing."""
    assert escape_formula(cell) == f"'{cell}"
    assert escape_formula("a=b") == "a=b"


def test_markdown_shows_markup_as_it_is() -> None:
    """A name with bars, links or tags stays one cell of plain text."""
    assert escape_markdown("a|b [x](y) <b>") == r"a\|b \[x\](y) &lt;b&gt;"
    assert (
        escape_markdown("see https://a.example, www.a.example: 14:02")
        == r"see https\://a.example, www\.a.example: 14:02"
    )


def test_a_link_is_cut_to_its_host() -> None:
    """What is left says where, and opens nothing."""
    assert without_links("at https://a.example.com:8443/s/x?y#z.") == "at https://a.example.com:8443/…"


PLAINLY = re.compile(
    r"((?:bearer|basic)(?:\s|%20|\+)+|(?:token|secret|password|authorization|api[-_]?key)[\"']?\s*[:=]\s*[\"']?)"
    r"(?=[a-z._~+/=-]*\d)[a-z0-9._~+/=-]{8,}",
    re.IGNORECASE,
)
"""What is masked, as one pattern says it: with a look ahead that some texts make long."""

PIECES = [
    "bearer",
    "Basic",
    "token",
    "password",
    "authorization",
    "api-key",
    "=",
    ":",
    " ",
    "+",
    "%20",
    '"',
    "a",
    "x" * 9,
]


@given(st.lists(st.sampled_from([*PIECES, "7", "12345678", "\n", "ü"]), max_size=30).map("".join))
def test_masking_is_what_its_pattern_says(text: str) -> None:
    """However the announcements overlap, one of them within the value of another one."""
    assert without_credentials(text, "***") == PLAINLY.sub(lambda found: found[1] + "***", text)
    assert looks_secret(text) or not PLAINLY.search(text)


WEB_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", re.ASCII | re.IGNORECASE)


@given(st.lists(st.sampled_from(["eyJ", "a", ".", "-", " ", "/"]), max_size=20).map("".join))
def test_a_web_token_is_known_by_its_parts(text: str) -> None:
    """As a pattern says it, but in one look at each part."""
    assert holds_secret(text) is (WEB_TOKEN.search(text) is not None)
