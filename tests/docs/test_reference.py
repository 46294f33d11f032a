"""The reference pages say what the grammar and the commands are, and their examples work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from orchestrator.core import jobs as model
from orchestrator.jobfile import types
from orchestrator.jobfile.kinds import MISSING, Issue
from orchestrator.jobfile.reader import read_jobfiles
from orchestrator.windows.durations import format_duration, parse_duration
from scripts import reference
from tests.support.documents import code_of

ROOT = Path(__file__).resolve().parents[2]
JOBFILE_PAGE = ROOT / "docs" / "jobfile.md"

DEFAULTS: dict[tuple[str, str], object] = {
    **{("limit", key): getattr(model.Limit(), key) for key in ("snapshots", "per", "guard", "grace", "pace")},
    **{("retry", key): getattr(model.RetryRules(), key) for key in ("attempts", "within")},
    ("http", "timeout"): model.Http().timeout,
    ("organization", "base_url"): model.DEFAULT_BASE_URL,
    ("window", "fit"): model.WindowSpec().fit,
    ("notify", "on"): model.Notify(format="json", url_file="-").on,
    ("job", "priority"): model.Job(name="-", organizations=()).priority.word,
    **{
        ("job", key): getattr(model.Job(name="-", organizations=()), key)
        for key in ("display_name", "is_public", "on_uncertain", "data_delay")
    },
}
"""The defaults that the program has."""


def test_the_reference_is_what_the_program_has() -> None:
    """Nothing between the markers is out of date: `make reference` writes it."""
    assert [page.name for page, _ in reference.stale()] == []


@pytest.mark.parametrize("name", sorted(reference.PARTS))
def test_every_part_of_the_reference_stands_on_a_page(name: str) -> None:
    """A table that is made is shown, once."""
    pages = "".join((ROOT / page).read_text("utf-8") for page in reference.PAGES)
    assert pages.count(f"<!-- {name}: begin -->") == 1


def test_a_stale_part_is_found() -> None:
    """What stands between two markers is replaced, whatever it was."""
    page = "a\n<!-- retry: begin -->\nstale words\n<!-- retry: end -->\nb\n"
    assert "| `attempts` |" in reference.current(page)
    assert "stale words" not in reference.current(page)
    with pytest.raises(KeyError):
        reference.current(page.replace("retry", "nothing"))


@pytest.mark.parametrize(("section", "key"), DEFAULTS, ids=".".join)
def test_a_default_of_the_reference_is_the_program_s(section: str, key: str) -> None:
    """What the grammar tells of a default is what holds when the key is left out."""
    told, real = reference.default(section, key).strip("`"), DEFAULTS[section, key]
    if isinstance(real, float):
        real = format_duration(real)
        told = format_duration(parse_duration(told))
    assert told == (str(real).lower() if isinstance(real, bool) else str(real))


@pytest.mark.parametrize(
    ("section", "key"),
    [(section, key) for section, keys in reference.SECTIONS.items() for key in keys.keys],
)
def test_the_example_of_a_key_is_read(section: str, key: str) -> None:
    """Each key has an example, and the grammar has nothing against it."""
    value = yaml.load(reference.EXAMPLES[section][key], Loader=yaml.BaseLoader)  # noqa: S506 - texts only
    assert wrong(section, {key: value}) == []
    assert wrong(section, {key: {"no": "such"}}) != []


def wrong(section: str, data: dict[str, Any]) -> list[Issue]:
    """What the grammar says of these keys; another one that is missing does not count."""
    issues: list[Issue] = []
    reference.SECTIONS[section].read(data, (), issues)
    return [issue for issue in issues if issue.form != MISSING]


def test_every_display_field_and_test_type_is_told() -> None:
    """The page names all of them."""
    text = JOBFILE_PAGE.read_text("utf-8")
    assert [name for name in types.DISPLAY_FIELDS if name not in text] == []
    assert [name for name in get_args(types.TestType) if f"`{name}`" not in text] == []


def test_the_example_of_the_page_is_a_job_file(tmp_path: Path) -> None:
    """What stands at the top can be copied."""
    (block,) = re.findall(r"```yaml\n(.*?)```", JOBFILE_PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "jobs.yaml").write_text(block)
    reading = read_jobfiles([tmp_path / "jobs.yaml"], environ={})
    assert reading.warnings == ()
    assert [job.name for job in reading.jobfile.jobs] == ["checkout", "payments"]


def test_the_readme_s_job_file_is_one(tmp_path: Path) -> None:
    """What the README shows in short is whole."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "jobs.yaml").write_text(block)
    assert read_jobfiles([tmp_path / "jobs.yaml"], environ={}).warnings == ()


def test_every_claim_of_the_page_about_files_has_its_code() -> None:
    """The inline pieces that look like keys of a job file are keys."""
    known = {key for keys in reference.SECTIONS.values() for key in keys.keys}
    pieces = {piece.rstrip(":") for piece in code_of(JOBFILE_PAGE)[1]}
    keys = {piece for piece in pieces if re.fullmatch(r"[a-z]+_[a-z_]+", piece)}
    assert keys - known - {"duplicate_possible", "https_proxy", "all_proxy"} == set()
