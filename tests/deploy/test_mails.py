"""The crontab line of docs/unattended.md mails what the page shows, and is silent where the page says so."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.core import SystemClock
from scripts import cron_mails
from scripts.cron_mails import NIGHTS, PAGE, UPKEEP
from tests.support.history import LongHistory


def shown() -> dict[str, str]:
    """The mails of the page, by their situation; empty where there is none."""
    block = PAGE.read_text("utf-8").partition("<!-- mails: begin -->")[2].partition("<!-- mails: end -->")[0]
    parts = re.split(r"^\d+\. \*\*(.+)\.\*\*", block, flags=re.MULTILINE)[1:]
    texts = [re.findall(r"```\n(.*?)   ```", text, re.DOTALL) for text in parts[1::2]]
    return {name[0].lower() + name[1:]: "".join(found) for name, found in zip(parts[::2], texts, strict=True)}


def ends(mail: str) -> list[str]:
    """The first and the last line, without what is another one in each night."""
    lines = [re.sub(r"\d+|(?<=tesnap )(\w+) \w{4}\b", r"\1 #", line.strip()) for line in mail.splitlines()]
    return [lines[0], lines[-1]] if lines else []


def test_the_page_shows_all_eight() -> None:
    """In the order of the script, two of them silent."""
    mails = shown()
    assert list(mails) == list(NIGHTS)
    assert [name for name, text in mails.items() if not text] == list(NIGHTS)[:2]


def test_no_sentence_of_a_mail_ends_twice() -> None:
    """As where an answer's own sentence becomes a part of one."""
    assert [text for text in shown().values() if re.search(r"[.;:][.;:]|\.,", text)] == []


@pytest.mark.deploy
def test_the_store_is_kept_in_silence(tmp_path: Path) -> None:
    """The other lines of the page: what is old is forgotten, and the copy has the day's name; no mail."""
    prune, backup = UPKEEP.findall(PAGE.read_text("utf-8"))
    place = tmp_path / ".local" / "state" / "tesnap"
    place.mkdir(parents=True)
    history = LongHistory(runs=410, tasks=2, organizations=1)
    history.fill(f"sqlite:///{place}/tesnap.db", "https://api.example.com/v7", SystemClock())
    assert [cron_mails.run_as_cron(line, tmp_path) for line in (prune, backup)] == ["", ""]
    (copy,) = tmp_path.glob("????-??-??.db")
    with closing(sqlite3.connect(copy)) as store:
        assert store.execute("SELECT COUNT(*) FROM run").fetchone()[0] < history.runs
    again = cron_mails.run_as_cron(backup, tmp_path)
    assert "a backup is never written over another file" in again


@pytest.mark.deploy
@pytest.mark.parametrize("name", NIGHTS)
def test_a_night_is_mailed_as_the_page_shows(name: str) -> None:
    """Silence at exit code 0; otherwise what is wrong first, and what to type last."""
    assert ends(cron_mails.mail(NIGHTS[name])) == ends(shown()[name])
