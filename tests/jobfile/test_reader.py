"""Job files: every error at once with its place, and what a good one comes to."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import JobFileError
from orchestrator.core.jobs import (
    DEFAULT_BASE_URL,
    CredentialSource,
    Fit,
    Pace,
    Ping,
    PingStyle,
    Priority,
    TestRef,
)
from orchestrator.jobfile import kinds
from orchestrator.jobfile import schema as grammar
from orchestrator.jobfile.reader import CheckedJobFile, read_jobfiles, starter
from orchestrator.jobfile.schema import json_schema
from tests.support.hostile import HEAD, HOSTILE

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BAD = sorted((HERE / "badjobs").glob("*.yaml"))
SECRETS = ("hush", "3f0e1d2c")
JOB = "jobs: [{name: j, tests: [1], windows: [{last: 1h}]}]\n"


def read(text: str, **environ: str) -> CheckedJobFile:
    return read_jobfiles(["-"], environ=environ, stdin=io.StringIO(text))


def errors(text: str, **environ: str) -> str:
    with pytest.raises(JobFileError) as caught:
        read(text, **environ)
    return str(caught.value)


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_a_bad_file_gives_exactly_the_errors_that_were_written_down_for_it(path: Path) -> None:
    """All of them, in the order of the file, and no secret in any."""
    with pytest.raises(JobFileError) as caught:
        read_jobfiles([path], environ={"SECRET_ID": "hush-hush"})
    said = str(caught.value).replace(str(path), path.name) + "\n"
    assert said == path.with_suffix(".expected").read_text(encoding="utf-8")
    assert not [secret for secret in SECRETS if secret in said]


@pytest.mark.parametrize(
    "written",
    [
        "jobs: [{name: j, tests: [1], windows: [{last: TOKEN}]}]",
        "jobs: [{name: j, tests: [1], windows: [{last: 1h, until: TOKEN}]}]",
        "jobs: [{name: j, tests: [1], windows: [{start: TOKEN, end: TOKEN}]}]",
        "jobs: [{name: j, tests: [1], windows: [{around: TOKEN, duration: 1h}]}]",
        "jobs: [{name: j, tests: [1], windows: [TOKEN]}]",
        "jobs: [{name: j, tests: [1], windows: [{last: 1h, fit: TOKEN}], data_delay: TOKEN, display_name: '{TOKEN}'}]",
        "jobs: [{name: j, tests: [TOKEN], windows: [{last: 1h}], priority: TOKEN, organization: TOKEN}]",
        f"timezone: TOKEN\n{JOB}",
        f"http: {{timeout: TOKEN, proxy: TOKEN}}\n{JOB}",
        f"organization_defaults: {{limit: {{per: TOKEN, guard: TOKEN, pace: TOKEN}}}}\n{JOB}",
        f"TOKEN: 1\n{JOB}",
    ],
)
@pytest.mark.parametrize(
    "token", ["12345678-1234-1234-1234-123456789abc", "eyJhbGciOi.J9.x", "a1" * 20, "Bearer x"]
)
def test_a_token_in_any_place_is_never_quoted_back(written: str, token: str) -> None:
    """Wherever it was pasted, the error says that it is not shown."""
    said = errors(HEAD + written.replace("TOKEN", token), ACME="x")
    assert token not in said
    assert said


def test_there_are_many_bad_files() -> None:
    """The catalogue was not lost on the way."""
    assert len(BAD) >= 65


def test_ids_times_and_words_stay_what_was_typed() -> None:
    """`0123`, `12:30`, `no`, `1_000` and `1e3` mean themselves."""
    jobfile = read_jobfiles([HERE / "goodjobs" / "words.yaml"], environ={}).jobfile
    (job,) = jobfile.jobs
    assert jobfile.name == "no"
    assert jobfile.organizations["1e3"].account_group == "0123"
    assert (job.name, job.organizations, job.is_public) == ("1_000", ("1e3",), True)
    assert job.tests == (*(TestRef(id=i) for i in ("0123", "007", "10")), TestRef(id="0", test_name="true"))
    assert [window.name for window in job.windows] == ["12:30", "on"]
    assert job.exclude == ("0x10", ".inf", "~")


def test_every_key_reaches_the_model(tmp_path: Path) -> None:
    """Defaults, globs, templates, variables and relative paths are resolved."""
    path = HERE / "goodjobs" / "everything.yaml"
    jobfile = read_jobfiles([path], environ={"AID": "7", "REGION": "eu", "HOME": str(tmp_path)}).jobfile
    acme, globex, lab = jobfile.organizations.values()
    assert acme.credential == CredentialSource(file="/run/secrets/acme/token")
    assert acme.base_url == "https://api.eu.example.com:8443/v7"
    assert (acme.limit.snapshots, acme.limit.use, acme.limit.per, acme.limit.pace) == (
        10,
        10,
        600.0,
        Pace.EVEN,
    )
    assert globex.credential == CredentialSource(env="TE_TOKEN_GLOBEX")
    assert (globex.account_group, globex.org_id, globex.limit.use, globex.limit.snapshots) == (
        "12",
        "34",
        3,
        10,
    )
    assert lab.credential == CredentialSource(file=str(tmp_path / "lab/token"))
    assert lab.base_url == "http://127.0.0.1:8080"
    first, second = jobfile.jobs
    assert first.organizations == ("acme", "globex", "lab")
    assert second.organizations == ("acme", "globex")
    assert (first.account_group, first.display_name) == ("7", "$ {job} {{x}} eu")
    assert (first.data_delay, first.windows[0].last, first.max_tests) == (0.0, 3600.0, 5)
    assert first.select is not None
    assert (first.select.type, first.select.tag, first.select.alerting) == (("bgp",), ("a", "b"), True)
    assert (second.priority, second.windows[1].fit) == (Priority.INCIDENT, Fit.COVER)
    assert jobfile.http.ca_bundle == str(path.parent / "certs/ca.pem")
    assert (jobfile.retry.within, jobfile.notify[0].on) == (5400.0, "failure")
    assert acme.ping == Ping(url_file="/run/secrets/acme/ping", style=PingStyle.KUMA, start=False)
    assert jobfile.ping == Ping(url_file=str(path.parent / "secrets/ping"))
    assert (first.min_tests, jobfile.prune_after) == (2, 400 * 86_400.0)
    assert first.place == f"{path}:23:5"


def test_the_starter_and_the_examples_are_valid() -> None:
    """What a stranger copies works."""
    assert read(starter()).jobfile.name == "starter"
    example = read_jobfiles([ROOT / "jobs.example.yaml"], environ={})
    assert list(example.jobfile.organizations) == ["acme", "globex"]
    assert sum(len(job.tests) * len(job.windows) for job in example.jobfile.jobs) >= 24
    assert read_jobfiles([HERE / "goodjobs" / "nightly-edge.yaml"], environ={}).warnings == ()


def test_a_token_of_the_environment_serves_one_organization_alone() -> None:
    """The file comes first, then TE_TOKEN_FILE, then TE_TOKEN; of several organizations each names its own."""
    one = "version: 1\norganizations: {acme: }\n" + JOB
    assert read(one, TE_TOKEN="t").jobfile.organizations["acme"].credential == CredentialSource(
        env="TE_TOKEN"
    )
    both = read(one, TE_TOKEN="t", TE_TOKEN_FILE="/f").jobfile.organizations["acme"]
    assert both.credential == CredentialSource(file="/f")
    own = read(HEAD + JOB, TE_TOKEN="t").jobfile.organizations["acme"]
    assert own.credential == CredentialSource(env="ACME")
    assert "2:17: error: `acme` has no token" in errors(one)
    two = "version: 1\norganizations: {acme: , globex: {token_env: G}}\n" + JOB.replace(
        "name: j", "name: j, organization: acme"
    )
    assert "2:17: error: `acme` has no token" in errors(two, TE_TOKEN="t")


def test_a_file_without_organizations_means_the_one_of_the_environment() -> None:
    """It is called `default`; only TE_BASE_URL gets a /v7 when its path is empty."""
    jobfile = read("version: 1\n" + JOB, TE_TOKEN="t", TE_BASE_URL="https://api.example.com/").jobfile
    assert jobfile.organizations["default"].base_url == "https://api.example.com/v7"
    assert jobfile.jobs[0].organizations == ("default",)
    assert (
        read("version: 1\n" + JOB, TE_TOKEN="t").jobfile.organizations["default"].base_url == DEFAULT_BASE_URL
    )
    assert "TE_BASE_URL" in errors("version: 1\n" + JOB, TE_TOKEN="t", TE_BASE_URL="http://example.com")
    written = HEAD.replace("ACME", "ACME, base_url: https://api.example.com") + JOB
    assert (
        read(written, TE_BASE_URL="https://x").jobfile.organizations["acme"].base_url
        == "https://api.example.com"
    )


def test_files_and_folders_are_one_run(tmp_path: Path) -> None:
    """Equal organizations are one, hidden and other files are left alone, and each file's windows are its own."""
    (tmp_path / "b.yml").write_text(HEAD + "windows: {w: {last: 1h}}\n" + JOB.replace("{last: 1h}", "w"))
    (tmp_path / "a.yaml").write_text(HEAD + "windows: {w: {last: 2h}}\n" + JOB.replace("{last: 1h}", "w"))
    (tmp_path / ".hidden.yaml").write_text("x")
    (tmp_path / "note.txt").write_text("x")
    jobfile = read_jobfiles([tmp_path, tmp_path / "a.yaml"], environ={}).jobfile
    assert [job.windows[0].last for job in jobfile.jobs] == [7200.0, 3600.0]
    assert jobfile.files == (str(tmp_path / "a.yaml"), str(tmp_path / "b.yml"))
    assert jobfile.name == "a+b"
    assert read_jobfiles([tmp_path], environ={}).jobfile.name == tmp_path.name


def test_the_same_organization_with_other_settings_is_an_error_in_the_second_file(tmp_path: Path) -> None:
    """Nobody can know which of the two was meant."""
    (tmp_path / "a.yaml").write_text(HEAD + JOB)
    (tmp_path / "b.yaml").write_text(HEAD.replace("ACME", "OTHER") + JOB)
    with pytest.raises(
        JobFileError, match=r"b\.yaml:2:17: error: the organization `acme` has different settings at"
    ):
        read_jobfiles([tmp_path], environ={})


def test_organizations_may_have_a_file_of_their_own(tmp_path: Path) -> None:
    """A file without organizations sees those of all files."""
    (tmp_path / "jobs.yaml").write_text("version: 1\n" + JOB)
    (tmp_path / "organizations.yaml").write_text(HEAD)
    assert read_jobfiles([tmp_path], environ={}).jobfile.jobs[0].organizations == ("acme",)


def test_what_cannot_be_read_is_an_error_at_its_path(tmp_path: Path) -> None:
    """A missing file, an empty folder, and a good one beside them."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobFileError) as caught:
        read_jobfiles([tmp_path / "none.yaml", tmp_path / "empty"], environ={})
    said = str(caught.value)
    assert "none.yaml:1:1: error: cannot be read: No such file or directory" in said
    assert "empty:1:1: error: no job file in this folder" in said


def test_standard_input_is_read_once_and_as_bytes() -> None:
    """`-` given twice is one file, and bytes that are not UTF-8 are a located error."""
    stdin = io.TextIOWrapper(io.BytesIO((HEAD + JOB).encode()))
    assert len(read_jobfiles(["-", "-"], environ={}, stdin=stdin).jobfile.jobs) == 1
    with pytest.raises(JobFileError, match="<stdin>:1:2: error: the byte 0xff"):
        read_jobfiles(["-"], environ={}, stdin=io.TextIOWrapper(io.BytesIO(b"v\xff")))


def test_two_jobs_of_one_name_are_a_warning() -> None:
    """It is allowed, and probably a copy."""
    job = "{name: j, tests: [1], windows: [{last: 1h}]}"
    reading = read(f"{HEAD}jobs:\n- {job}\n- {job}\n")
    assert [str(warning) for warning in reading.warnings] == [
        "<stdin>:5:10: warning: a second job is called 'j', as the one in line 4"
    ]


def test_a_hundred_errors_are_shown_and_the_rest_counted() -> None:
    """Nobody reads more before mending the first ones."""
    said = errors(HEAD + JOB + "".join(f"k{i}: 1\n" for i in range(130))).split("\n")
    assert len(said) == 101
    assert said[-1].endswith("error: and 30 more errors in this file")


def test_the_value_of_a_variable_is_never_quoted() -> None:
    """A variable may hold a secret that was filled in by mistake."""
    said = errors(
        HEAD + "timezone: ${S}\n" + JOB.replace("[1]", '["${S}"]').replace("1h", '"${S}"'), S="hush"
    )
    assert said.count("error") == 3
    assert "hush" not in said


def test_a_window_filled_in_wrongly_is_not_quoted_either() -> None:
    """What the windows' own errors quote is the value that was filled in."""
    said = errors(HEAD + JOB.replace("last: 1h", 'start: "${S}", duration: 1h'), S="hush")
    assert said == "<stdin>:3:48: error: `start`: not valid with its variables filled in"


def test_the_errors_of_a_list_are_bounded_before_they_are_made() -> None:
    """A wrong entry in every line must not cost more memory than the file has bytes."""
    issues: list[kinds.Issue] = []
    grammar.FileEntry.read({"jobs": [{"tests": ["x"] * 5000}] * 200}, (), issues)
    assert len(issues) == kinds.TOO_MANY


def test_the_schema_is_made_of_the_same_types() -> None:
    """Every key is described, unknown ones are refused except at the top with `x-`."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(schema["patternProperties"]) == ["^x-"]
    assert schema["additionalProperties"] is False
    models = [part for part in schema["$defs"].values() if "properties" in part]
    keys = [key for part in [schema, *models] for key in part["properties"].values()]
    assert all("description" in key for key in keys)
    assert schema["$defs"]["JobEntry"]["properties"]["priority"]["enum"] == ["incident", "normal", "batch"]
    assert "title" not in json.dumps(schema["$defs"])


BOUNDED = """
import resource, sys
from orchestrator.core.errors import JobFileError
from orchestrator.jobfile import read_jobfiles, schema
most_calls, memory, seconds = map(int, sys.argv[2:])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
    if calls > most_calls:
        sys.exit(f"more than {most_calls:,} calls")
sys.setprofile(count)
try:
    read_jobfiles(sys.argv[1:2], environ={"A": "x" * 40})
except JobFileError as error:
    print(len(error.errors))
else:
    print("good")
"""
MOST_CALLS = 15_000_000
"""Of functions, Python's and C's: counted, because seconds depend on the machine and what else it does. The dearest
file takes 11 million, 1.4 s here; `python -m benchmarks jobfile` measures what they cost."""

MOST_MEMORY = 256 * 2**20
HANGING = 120
"""Seconds of the processor after which reading hangs in something that the calls do not count."""


@pytest.mark.process
@pytest.mark.parametrize("kind", HOSTILE)
def test_no_file_costs_more_than_its_calls_and_256_megabytes(kind: str, tmp_path: Path) -> None:
    """What goes beyond is stopped: by the count, or by the kernel."""
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[kind])
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    bounds = map(str, (MOST_CALLS, MOST_MEMORY, HANGING))
    command = [sys.executable, "-c", BOUNDED, str(path), *bounds]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() == "good" if kind == "good" else 1 <= int(done.stdout) <= 101


WORDS = st.sampled_from(
    [
        "version",
        "1",
        "jobs",
        "name",
        "tests",
        "windows",
        "organizations",
        "acme",
        "token_env",
        "ACME",
        "select",
        "last",
        "1h",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "-",
        "&",
        "*",
        "a",
        "!!x",
        "${A}",
        "$$",
        "${B}",
        "\n",
        "\n\n",
        "''",
        '"',
        "?",
        "<<",
        "x-a",
        "limit",
        "use",
        "9",
        "no",
        "true",
        "null",
        "~",
        "#",
        "|",
        ">",
        "defaults",
        "exclude",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.lists(WORDS, max_size=40).map(lambda words: " ".join(words).encode())
    )
)
def test_any_content_is_a_job_file_or_a_list_of_errors(content: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        reading = read_jobfiles(["-"], environ={"A": "x"}, stdin=io.TextIOWrapper(io.BytesIO(content)))
    except JobFileError as error:
        assert error.errors  # noqa: PT017 - either outcome is right
    else:
        assert reading.jobfile.jobs


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_good_file_with_one_value_broken_raises_nothing_else(data: st.DataObject) -> None:
    """Wherever a value is replaced, the answer is a job file or located errors."""
    text = (HERE / "goodjobs" / "everything.yaml").read_text(encoding="utf-8")
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 12))
    put = data.draw(
        st.one_of(st.text(max_size=6), WORDS, st.sampled_from(["[1]", "{a: 1}", "9" * 30, "0", "''"]))
    )
    content = (text[:at] + put + text[at + length :]).encode("utf-8", "surrogatepass")
    try:
        read_jobfiles(["-"], environ={"AID": "1"}, stdin=io.TextIOWrapper(io.BytesIO(content)))
    except JobFileError as error:
        assert all(located.line >= 1 and located.column >= 1 for located in error.errors)  # noqa: PT017 - same


def test_a_name_that_is_expected_of_a_test_holds_wherever_it_stands() -> None:
    """The same id without a name, before or after, does not take it away."""
    for written in ('{id: "1", test_name: A}, "1"', '"1", {id: "1", test_name: A}'):
        text = f"{HEAD}jobs: [{{name: j, tests: [{written}], windows: [{{last: 1h}}]}}]\n"
        (job,) = read(text, ACME="x").jobfile.jobs
        assert job.tests == (TestRef(id="1", test_name="A"),)


def test_a_test_has_one_name() -> None:
    """Two names for one id cannot both be right."""
    written = '{id: "1", test_name: A}, {id: "1", test_name: B}'
    said = errors(f"{HEAD}jobs: [{{name: j, tests: [{written}], windows: [{{last: 1h}}]}}]\n", ACME="x")
    assert said.endswith(
        "<stdin>:3:51: error: test 1 has the name 'B' here and 'A' above: write the same name"
    )


def test_what_the_defaults_say_is_read_once_for_all_jobs() -> None:
    """Tests, windows and organizations of the defaults are the same ones in each job, not as many copies."""
    text = "defaults: {tests: [1, 2], windows: [{last: 1h}], organization: [acme]}\njobs: [{name: a}, {name: b}]\n"
    a, b = read(HEAD + text, ACME="x").jobfile.jobs
    assert a.tests is b.tests
    assert a.windows is b.windows
    assert a.organizations is b.organizations


def test_a_small_file_cannot_ask_for_more_than_a_run_may_have() -> None:
    """Jobs, tests and windows multiply; the error has the numbers."""
    tests = ", ".join(map(str, range(5000)))
    jobs = "".join(f"- {{name: j{n}}}\n" for n in range(3000))
    said = errors(f"{HEAD}defaults: {{tests: [{tests}], windows: [{{last: 1h}}]}}\njobs:\n{jobs}", ACME="x")
    assert said == (
        "<stdin>:5:1: error: 3000 jobs ask for 15,000,000 snapshots, more than the 1,000,000 that one run may have:"
        " name fewer tests or windows, or split the file"
    )


def test_selectors_count_as_one_test_for_each_window() -> None:
    """Nobody knows yet how many they find."""
    names = ", ".join(f"w{n}" for n in range(400))
    windows = "".join(f"  w{n}: {{start: 2026-11-20T14:00:00Z, duration: 1h}}\n" for n in range(400))
    jobs = "".join(f"- {{name: j{n}}}\n" for n in range(2501))
    text = f"windows:\n{windows}defaults: {{select: {{type: bgp}}, windows: [{names}]}}\njobs:\n{jobs}"
    assert "2501 jobs ask for 1,000,400 snapshots" in errors(HEAD + text, ACME="x")


@pytest.mark.parametrize("template", ["{test:>9}", "{test!r}"])
def test_a_field_takes_no_format(template: str) -> None:
    """The field is known; what follows its name is not."""
    said = errors(f"{HEAD}defaults: {{display_name: '{template}'}}\n{JOB}", ACME="x")
    assert "{test} takes no format after a colon or an exclamation mark: write it alone" in said


@pytest.mark.parametrize("name", ["A\u00a0B", "\U0001f468\u200d\U0001f4bb", "名\u3000前"])
def test_a_name_may_have_what_a_terminal_shows(name: str) -> None:
    """Spaces that do not break, and the joiners of emoji, are parts of names."""
    text = f"{HEAD}jobs: [{{name: '{name}', tests: [{{id: 1, test_name: '{name}'}}], windows: [{{last: 1h}}]}}]\n"
    (job,) = read(text, ACME="x").jobfile.jobs
    assert (job.name, job.tests[0].test_name) == (name, name)


@pytest.mark.parametrize("name", ["a\u202eb", "a\u200bb", "a\\nb"])
def test_a_name_has_nothing_that_a_terminal_obeys(name: str) -> None:
    """What turns the reading direction, is seen by nobody, or breaks the line."""
    said = errors(f'{HEAD}jobs: [{{name: "{name}", tests: [1], windows: [{{last: 1h}}]}}]\n', ACME="x")
    assert "one line of printable characters only" in said


def test_more_secrets_than_anybody_counts_are_errors() -> None:
    """A file whose every line asks for a token ends in errors, as any other wrong one."""
    said = errors(HEAD + "jobs:\n" + "- {token: a}\n" * 1200, ACME="x")
    assert said.endswith("more errors in this file")
