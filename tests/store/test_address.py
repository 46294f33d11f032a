"""Which store an address means, that nothing else is taken for one, and that no password in it is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import UsageError
from orchestrator.core.redact import mask_secrets
from orchestrator.store.address import StoreAddress, read_address, shown_address, sqlite_address
from tests.support.commands import LONGEST

SECRET = "hunter2-canary"

ADDRESSES = [
    f"postgresql://u:pa/{SECRET}@h/x",
    f"postgresql://u:pa@{SECRET}@h/x",
    f"postgresql://u:{SECRET}#@h:x/x",
    f"postgresql://u:{SECRET}@h:badport/x",
    f"postgresql://u:{SECRET}@h:70000/x",
    f"postgresql://u:{SECRET}@h/x/y",
    f"postgresql://u:{SECRET}@h/x#y",
    f"postgresql://u:{SECRET}%zz@h/x",
    f"postgresql://u:{SECRET} @h/x",
    f"postgresql:/u:{SECRET}@h/x",
    f"postgres:u:{SECRET}@h/x",
    f"postgresql+psycopg://u:{SECRET}@h/x",
    f"jdbc:postgresql://u:{SECRET}@h/x",
    f"mysql://u:{SECRET}@h/x",
    f"sqlite://u:{SECRET}@h/x",
    f"sqlite:///u:{SECRET}@h/x",
    f"u:{SECRET}@h/x",
    f"//u:{SECRET}@h/x",
    f"user=u password={SECRET} host=h/x",
    f"host = h password = {SECRET} sslrootcert=/x",
    f"https://u:{SECRET}@h/x",
    f"file:/tmp/{SECRET}.db",
]

FILES = [
    "/srv/t.db\n/srv/u.db",
    "/srv/t\r.db",
    "/srv/t\x1b[2J.db",
    "/srv/\u202et.db",
    '"/srv/t.db"',
    "'/srv/t.db'",
    "sqlite:////srv/t.db'",
    "$HOME/t.db",
    "${HOME}/t.db",
    "sqlite:////$HOME/t.db",
    "sqlite:///$HOME/t.db",
    "sqlite:////~/t.db",
    "sqlite:///~/t.db",
    "/~/t.db",
    "sqlite:~/t.db",
    "/srv/t.db?mode=ro",
    "sqlite:////srv/t.db?mode=ro",
    "sqlite:////srv/t.db#new",
    "sqlite:////srv/100%",
    "sqlite:////srv/%ff.db",
    "sqlite:/srv/t.db",
    "sqlite:t.db",
    "sqlite:///t.db",
    "sqlite://host/t.db",
    "file:/srv/t.db",
    "file:t.db?mode=ro",
    "",
    " \n",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_cannot_be_split_is_refused_and_not_shown(address: str) -> None:
    """Neither the password nor anything else of it; the advice says what to write."""
    with pytest.raises(UsageError, match="not a store") as caught:
        read_address(address)
    assert SECRET not in str(caught.value)
    assert "write " in str(caught.value) or "percent-encode" in str(caught.value)


@pytest.mark.parametrize("address", FILES)
def test_what_would_be_a_second_file_by_mistake_is_refused(address: str) -> None:
    """A second file is a second bucket: twice the limit, and nobody would know."""
    with pytest.raises(UsageError, match=r"not a store.*: (write|leave|name)"):
        read_address(address)


@pytest.mark.parametrize("around", ["{}\n", "  {}", "{}\r\n", "\ufeff{}\n", "\t{} "])
@pytest.mark.parametrize("address", ["/srv/t.db", "sqlite:////srv/t.db"])
def test_white_space_around_an_address_does_not_matter(address: str, around: str) -> None:
    """A variable that was read from a file ends in a newline."""
    assert read_address(around.format(address)) == StoreAddress(path=Path("/srv/t.db"))
    assert read_address(around.format("postgresql://h/x")).url == "postgresql://h/x"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/srv/John Doe/it's.db", "/srv/John Doe/it's.db"),
        ("sqlite:////srv/a%20b%23c%3F%25.db", "/srv/a b#c?%.db"),
        ("SQLite:////srv/t.db", "/srv/t.db"),
        ("/srv/c#/t.db", "/srv/c#/t.db"),
        ("/srv/a@b:c/t.db", "/srv/a@b:c/t.db"),
    ],
)
def test_an_unusual_path_is_taken_as_it_is(written: str, path: str) -> None:
    """Spaces, an apostrophe, what is percent-encoded."""
    assert read_address(written).path == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40%2F@h:5432/x",
        "postgresql://u:p$a#b?c:d@h/x",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://[::1]:5432/x",
        "postgresql://a,b:5433/x?target_session_attrs=read-write",
        "postgres://u@db_1.example/x",
        "postgresql://",
    ],
)
def test_an_address_of_a_database_is_taken_as_its_client_reads_it(url: str) -> None:
    """Whatever libpq splits in one way."""
    assert read_address(url).url == url


def test_a_password_is_hidden_from_the_moment_its_address_is_read() -> None:
    """In both spellings, and out of the command that is suggested next."""
    url = "postgresql://u:hid%40den-pass@h/x?sslmode=require&sslpassword=pass-of-the-key"
    shown = shown_address(url)
    assert shown == "postgresql://u@h/x?sslmode=require"
    assert mask_secrets("hid@den-pass, hid%40den-pass, pass-of-the-key") == "[masked], [masked], [masked]"


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30))
def test_the_address_of_a_file_is_read_as_that_file(name: str) -> None:
    """Percent signs, question marks, quotes and dollars in the name of a home directory too."""
    path = Path("/nowhere-at-all") / name.replace("/", "_")
    if path.name not in (".", ".."):
        assert read_address(sqlite_address(path)).path == path


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """With one error, and never another."""
    with suppress(UsageError):
        read_address(text)


@pytest.mark.process
@pytest.mark.parametrize("command", ["status", "run", "plan", "settle", "doctor"])
def test_no_command_makes_a_folder_of_an_address_or_shows_it(command: str, tmp_path: Path) -> None:
    """Each command as a process, by option and by variable."""
    (tmp_path / "jobs.yaml").write_text(
        "version: 1\njobs: [{name: a, tests: ['1'], windows: [{last: 1h}]}]\n", encoding="utf-8"
    )
    words = [command, *(["jobs.yaml"] if command in ("run", "plan") else [])]
    for address in (ADDRESSES[0], ADDRESSES[10], "$HOME/t.db"):
        for option, environ in (([f"--store={address}"], {}), ([], {"TESNAP_STORE": address})):
            done = subprocess.run(
                [sys.executable, "-m", "orchestrator", *words, *option],
                cwd=tmp_path,
                env={
                    "PATH": os.defpath,
                    "HOME": str(tmp_path),
                    "TE_TOKEN": "token-of-nobody-1",
                    "TE_BASE_URL": "http://127.0.0.1:1",
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **environ,
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=LONGEST,
            )
            assert SECRET not in done.stdout + done.stderr
            if command != "doctor":  # which says what is wrong with everything, each in its line
                assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert "not a store" in done.stdout + done.stderr
            assert [path.name for path in tmp_path.iterdir()] == ["jobs.yaml"]
