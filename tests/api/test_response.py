"""Answers of which every part may be missing: moments, headers and texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.response import Answer, clean, date_offset, explain, general_reset, instant, retry_after

DATE = "Mon, 23 Nov 2026 07:00:00 GMT"
DATE_EPOCH = 1795417200


@pytest.mark.parametrize(
    ("value", "epoch"),
    [
        ("2023-06-06T00:00:00Z", 1686009600.0),
        ("2023-06-06T00:00:00.250Z", 1686009600.25),
        ("2023-06-06 00:00:00", 1686009600.0),
        ("2023-06-06T02:00:00+02:00", 1686009600.0),
        (1686009600, 1686009600.0),
        ("soon", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (1795433001000, None),  # milliseconds
        (10**400, None),
        (-5, None),
        (946684799, None),
        (4102444800, None),
    ],
)
def test_instants_come_in_several_forms(value: object, epoch: float | None) -> None:
    """Text without an offset is UTC."""
    assert instant(value) == epoch


@pytest.mark.parametrize(
    ("reset", "date", "seconds"),
    [
        ("42", None, 42.0),
        ("0", None, 1.0),
        (str(DATE_EPOCH + 42), DATE, 42.0),
        (str(DATE_EPOCH - 42), DATE, 1.0),
        (str(DATE_EPOCH + 42), None, 60.0),
        (str(DATE_EPOCH + 42), "never", 60.0),
        (None, DATE, 60.0),
        ("soon", DATE, 60.0),
        ("-5", DATE, 60.0),
        ("inf", DATE, 60.0),
        ("999999", None, 3600.0),
        (str((DATE_EPOCH + 42) * 1000), DATE, 3600.0),
    ],
)
def test_a_reset_is_a_date_or_seconds(reset: str | None, date: str | None, seconds: float) -> None:
    """Large numbers are dates, small ones seconds; what cannot be used is the documented minute."""
    headers = {"x-organization-rate-limit-reset": reset, "date": date}
    assert general_reset({name: value for name, value in headers.items() if value is not None}) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 1.0),
        ("86400", 3600.0),
        ("Mon, 23 Nov 2026 07:02:00 GMT", 120.0),
        ("Mon, 23 Nov 2026 06:00:00 GMT", 1.0),
        ("Tue, 24 Nov 2026 07:00:00 GMT", 3600.0),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """At most an hour, never at once."""
    assert retry_after({"retry-after": value, "date": DATE}) == seconds


def test_a_retry_after_date_needs_the_servers_own_date() -> None:
    """Our clock is not asked."""
    assert retry_after({"retry-after": DATE}) is None


@pytest.mark.parametrize(
    "text",
    [
        "Bearer 0a1b2c3d-4e5f",
        "authorization: Bearer 0a1b2c3d-4e5f",
        "token=0a1b2c3d-4e5f",
        '"access_token": "0a1b2c3d-4e5f"',
        "api_key: 0a1b2c3d-4e5f",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    """Even if it is not ours."""
    assert "0a1b2c3d" not in clean(f"got {text} here", 200)
    body = json.dumps({"title": text, "detail": text, "errors": [{"field": text, "message": text}]}).encode()
    assert "0a1b2c3d" not in repr(explain(Answer(sent=True, status=400, body=body)))


@pytest.mark.parametrize(
    "text",
    [
        "Bearer token is invalid",
        "Bearer authentication failed",
        "Invalid token: expired",
        "The token expired in 2026",
    ],
)
def test_words_about_credentials_are_not_masked(text: str) -> None:
    """A message about a token stays readable."""
    assert clean(text, 200) == text


@given(st.text(max_size=300))
def test_a_cleaned_text_is_one_short_line(text: str) -> None:
    """No control characters, no line breaks, no more than asked for."""
    line = clean(text, 50)
    assert len(line) <= 50
    assert not any(character in line for character in "\n\r\x1b\x85\u2028\u202e")


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Mon, 99 Foo 2026", None),
    ],
)
def test_the_servers_clock_is_compared_with_ours(date: str | None, offset: float | None) -> None:
    """Unless the header is missing or broken."""
    assert date_offset(date, 60.0) == offset


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<html><head><title>Sign in</title></head><h1>No</h1>", "Sign in"),
        (b"<TITLE lang=en>\n Sign &amp; <b>in</b>\n</TITLE >", "Sign & in"),
        (b"<html><title></title><h1 class='x'>504 Gateway</h1>", "504 Gateway"),
        (b"<html><title>never closed <h1>Busy</h1>", "Busy"),
        ("<title>\u0130stanbul \u0130</title>".encode(), "\u0130stanbul \u0130"),
        (b"<title>a < b</title>", "a < b"),
        (b"<html>nothing", "Bad gateway"),
        (b"<title", "Bad gateway"),
        (b"<title>&#" + b"9" * 5000 + b";</title>", None),
    ],
)
def test_a_page_is_called_by_its_heading(page: bytes, title: str | None) -> None:
    """Its title, else its first heading; whatever is in it, reading it ends."""
    found = explain(Answer(sent=True, status=502, body=page)).title
    assert len(found) <= 120
    assert title in (None, found)


@given(
    st.lists(
        st.sampled_from(["<title>", "</title>", "<h1>", "</h1", "<", ">", "&#9", "\u0130", "a b", "\x00"])
    )
)
def test_any_page_is_read(pieces: list[str]) -> None:
    """Nothing in it is an internal error, and what is shown is short."""
    problem = explain(Answer(sent=True, status=502, body=("<" + "".join(pieces)).encode()))
    assert problem.title
    assert len(problem.title) <= 120
