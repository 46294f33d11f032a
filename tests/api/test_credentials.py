"""API tokens: read, checked, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from orchestrator.api.credentials import Bearer, read_bearer
from orchestrator.core.errors import CredentialError
from orchestrator.core.jobs import CredentialSource

SECRET = "3f0e1d2c-1111-4222-8333-444455556666"


def refusal(source: CredentialSource, **environ: str) -> str:
    with pytest.raises(CredentialError) as caught:
        read_bearer(source, environ=environ)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_bearer_shows_itself_to_nobody_who_does_not_ask() -> None:
    """Neither repr, str, format nor a pickle has the token; a comparison works all the same."""
    bearer = Bearer(SECRET)
    assert SECRET not in f"{bearer} {bearer!r} {bearer:>20} {[bearer]}"
    with pytest.raises(TypeError):
        pickle.dumps(bearer)
    assert bearer.reveal() == SECRET
    assert bearer == Bearer(SECRET)
    assert bearer != Bearer("other")


@pytest.mark.parametrize("around", ["{}", "{}\n", "  {} \r\n", "\ufeff{}\n"])
def test_white_space_and_a_byte_order_mark_around_a_token_do_not_matter(around: str, tmp_path: Path) -> None:
    """Editors add them, and a secret's file often ends in a newline."""
    path = tmp_path / "token"
    path.write_text(around.format(SECRET), encoding="utf-8")
    assert read_bearer(CredentialSource(file=str(path)), environ={}).reveal() == SECRET
    assert read_bearer(CredentialSource(env="T"), environ={"T": around.format(SECRET)}).reveal() == SECRET


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (f"{SECRET}\n{SECRET}", "white space within"),
        (f"Bearer {SECRET}", "word Bearer"),
        (f"{SECRET}\x00", "characters that no API token has"),
        (f"{SECRET}é", "characters that no API token has"),
    ],
)
def test_a_malformed_token_is_refused_without_being_shown(text: str, says: str, tmp_path: Path) -> None:
    """The error names the file or variable."""
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    for source, name in (
        (CredentialSource(file=str(path)), str(path)),
        (CredentialSource(env="T"), "variable T"),
    ):
        error = refusal(source, T=text)
        assert says in error
        assert name in error
        assert SECRET[:8] not in error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"{}"', "quotation marks"),
        ("'{}'", "quotation marks"),
        ("{}`", "quotation marks"),
        ("TE_TOKEN={}", "NAME=VALUE"),
        ("export TE_TOKEN={}", "NAME=VALUE"),
        ('TE_TOKEN="{}"', "quotation marks"),
        ("${{TE_TOKEN}}", "a variable that is not filled in"),
        ("$TE_TOKEN", "a variable that is not filled in"),
        ("%TE_TOKEN%", "a variable that is not filled in"),
        ("<token>", "a placeholder"),
        ("<{}>", "a placeholder"),
        ("{{{{ te_token }}}}", "a template"),
        ('{{"access_token":"{}"}}', "JSON"),
        ('["{}"]', "JSON"),
        ("REPLACE_ME", "a placeholder"),
        ("replace-me", "a placeholder"),
        ("YOUR_API_TOKEN", "a placeholder"),
        ("changeme", "a placeholder"),
        ("te-token-placeholder", "a placeholder"),
        ("te_token", "a placeholder"),
        ("xxxxxxxx", "a placeholder"),
        ("null", "a placeholder"),
        ("bearer\t{}", "word Bearer"),
        ("{}\n{}", "white space"),
        ("token: {}", "white space"),
        ("{} # the token", "white space"),
        ("https://api.thousandeyes.com/v7", "an address"),
        ("/run/secrets/te/token", "a path"),
        ("../token", "a path"),
        ("~/token", "a path"),
        ("{}=x", "characters that no API token has"),
        ("{}\ufeff", "characters that no API token has"),
        ("user:{}", "characters that no API token has"),
        ("MDAwZTFkMmMtMTExMS00MjIyLTgzMzMtNDQ0NDU1NTU2NjY2Cg==", "in base64"),
    ],
)
def test_what_is_no_token_is_not_sent(text: str, says: str, tmp_path: Path) -> None:
    """A refused request for each: an account may be locked by them. The text itself is never quoted back."""
    path = tmp_path / "token"
    path.write_text(text.format(SECRET, SECRET), encoding="utf-8")
    error = refusal(CredentialSource(file=str(path)))
    assert says in error
    assert SECRET not in error
    assert says in refusal(CredentialSource(env="T"), T=text.format(SECRET, SECRET))


@pytest.mark.parametrize(
    "token",
    [SECRET, "eyJhbGciOi.eyJzdWIiOiI.c2lnbmF0dXJl-_", "abc+/def0123==", "token-1", "change-9f2", "yourself"],
)
def test_whatever_a_header_may_hold_as_a_token_is_one(token: str) -> None:
    """By RFC 6750: ThousandEyes may change its form."""
    assert read_bearer(CredentialSource(env="T"), environ={"T": token}).reveal() == token


def test_a_file_that_cannot_be_a_token_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, too large, not text: each with what to do."""
    large, binary = tmp_path / "large", tmp_path / "binary"
    large.write_bytes(b"x" * 70_000)
    binary.write_bytes(b"\xff\xfe")
    assert "does not exist" in refusal(CredentialSource(file=str(tmp_path / "none")))
    assert "is a folder" in refusal(CredentialSource(file=str(tmp_path)))
    assert "larger than 64 KiB" in refusal(CredentialSource(file=str(large)))
    assert "characters that no API token has" in refusal(CredentialSource(file=str(binary)))
    assert "cannot be read" in refusal(CredentialSource(file="a\0b"))


def test_a_token_taken_for_its_own_path_is_not_shown() -> None:
    """TE_TOKEN_FILE may hold the token by mistake."""
    assert SECRET not in refusal(CredentialSource(file=SECRET))


def test_a_variable_that_is_not_set_and_no_source_at_all_are_errors() -> None:
    """What to do is part of the error."""
    assert "variable TE_TOKEN is not set" in refusal(CredentialSource(env="TE_TOKEN"))
    assert "token_file" in refusal(CredentialSource())
