"""The crontab line of docs/unattended.md mails what the page shows, and is silent where the page says so."""

from __future__ import annotations

import re

import pytest

from scripts import cron_mails
from scripts.cron_mails import NIGHTS, PAGE


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


@pytest.mark.deploy
@pytest.mark.parametrize("name", NIGHTS)
def test_a_night_is_mailed_as_the_page_shows(name: str) -> None:
    """Silence at exit code 0; otherwise what is wrong first, and what to type last."""
    assert ends(cron_mails.mail(NIGHTS[name])) == ends(shown()[name])
