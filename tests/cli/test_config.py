"""`tesnap config`: every setting, where it comes from, and no secret; the store's address in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import ran

JOBFILE = """\
version: 1
name: edge
timezone: Europe/Berlin
organizations: {acme: {token_env: TE_TOKEN}}
http: {timeout: 30s, proxy: "http://someone:pass-of-proxy@proxy.example:3128"}
jobs: [{name: a, tests: ["1"], windows: [{last: 1h}]}]
"""

SECRETS = ("pass-of-proxy", "pass-of-store", "0a1b2c3d-0000-4e5f-8888-token-of-te")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a job file, and variables that hold secrets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TE_TOKEN", SECRETS[2])
    (tmp_path / "jobs.yaml").write_text(JOBFILE)


def settings(*words: str) -> dict[str, tuple[str, str]]:
    """Value and origin of each setting that the command shows; none of them is a secret."""
    shown = ran("config", *words, "--json")
    assert shown.code == 0, shown.stderr
    assert not [secret for secret in SECRETS if secret in shown.stdout + ran("config", *words).stdout]
    return {one["name"]: (one["value"], one["origin"]) for one in json.loads(shown.stdout)}


def test_each_setting_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option, a variable, a place in the file, or the default."""
    monkeypatch.setenv("TESNAP_PER", "1m")
    monkeypatch.setenv("TESNAP_DEADLINE", "1m30s")
    monkeypatch.setenv("TESNAP_ORGANIZATION", "ac*")
    monkeypatch.setenv("TESNAP_STORE", "postgresql://me:pass-of-store@db.example/tesnap")
    found = settings("jobs.yaml", "--snapshots", "3")
    assert found["--snapshots"] == ("3", "option")
    assert found["--per"] == ("60s", "TESNAP_PER")
    assert found["--deadline"] == ("90s", "TESNAP_DEADLINE")
    assert found["--organization"] == ("ac*", "TESNAP_ORGANIZATION")
    assert found["--run-id"] == ("not set", "default")
    assert found["--guard"] == ("1s", "default")
    assert found["--store"] == ("postgresql://me@db.example/tesnap", "TESNAP_STORE")
    assert found["http.timeout"] == ("30s", "jobs.yaml:5:17")
    assert found["retry.attempts"] == ("8", "default")
    assert found["TE_TOKEN"] == ("set, not shown", "environment")
    assert found["organizations.acme.token_env"][0] == "TE_TOKEN"
    assert "organizations.acme.token" not in found


def test_a_token_that_no_organization_names_has_a_place_too(tmp_path: Path) -> None:
    """That of all organizations with its own name in it, or the environment's."""
    shared = (
        "organization_defaults: {token_file: 'tokens/{organization}'}\norganizations: {acme: {}, globex: {}}"
    )
    own = "organizations: {acme: {token_env: TE_TOKEN}}"
    (tmp_path / "shared.yaml").write_text(
        JOBFILE.replace(own, shared).replace("{name: a,", "{name: a, organization: acme,")
    )
    found = settings("shared.yaml")
    assert found["organizations.globex.token"] == ("file tokens/globex", "shared.yaml:4:37")
    (tmp_path / "plain.yaml").write_text(JOBFILE.replace(own, "organizations: {acme: {}}"))
    assert settings("plain.yaml")["organizations.acme.token"] == ("variable TE_TOKEN", "TE_TOKEN")


def test_what_does_harm_by_a_variable_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten TESNAP_AGAIN would make everything twice each night: it is said to mean nothing."""
    for name in ("AGAIN", "FAILED", "DRY_RUN", "STRICT", "YES"):
        monkeypatch.setenv(f"TESNAP_{name}", "1")
    assert ran("validate", "jobs.yaml").stderr.splitlines() == [
        f"warning: TESNAP_{option.upper().replace('-', '_')} is not a variable of tesnap and has no effect: write --{option} on"
        " the command line"
        for option in ("again", "dry-run", "failed", "strict", "yes")
    ]


def test_the_address_of_the_store_may_stand_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a password may be changed; two addresses are one too many, and an option goes before both."""
    monkeypatch.delenv("TESNAP_STORE", raising=False)
    (tmp_path / "address").write_text(f"sqlite:///{tmp_path}/here.db\n")
    monkeypatch.setenv("TESNAP_STORE_FILE", str(tmp_path / "address"))
    assert ran("runs").code == 0
    assert settings()["--store"] == (str(tmp_path / "address"), "TESNAP_STORE_FILE")
    monkeypatch.setenv("TESNAP_STORE", "sqlite:////elsewhere.db")
    both = ran("runs")
    assert (both.code, "are both set" in both.stderr) == (2, True)
    assert ran("runs", "--store", f"sqlite:///{tmp_path}/third.db").code == 0
    monkeypatch.delenv("TESNAP_STORE")
    (tmp_path / "address").unlink()
    gone = ran("runs")
    assert (gone.code, "cannot be read" in gone.stderr) == (2, True)
