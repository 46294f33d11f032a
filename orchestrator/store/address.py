"""Addresses of stores: one file or one PostgreSQL database, as people write them into options and variables.

An address may hold a password, and a variable may hold anything: what cannot be split is refused, and
nothing of it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from orchestrator.core import StoreUnusable, UsageError, hide, is_plain, quote, read_start

SUFFIXES = (".db", ".sqlite", ".sqlite3")
"""Names that mean a file even without a slash."""

_FORMS = "write sqlite:////absolute/path, a path such as ./tesnap.db, or postgresql://user@host:port/database"

_ENCODE = (
    "percent-encode what has a meaning of its own in a name or password (%40 for @, %2F for /, %3A for :,"
    " %23 for #, %3F for ?, %25 for %)"
)

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)

_KEY_VALUE = re.compile(r"\w+\s*=")  # libpq's other form: host=… user=… password=…

_UNEXPANDED = re.compile(r"\$[A-Za-z_{(]")  # a variable that no shell has filled in

_MEANING = re.compile(r"[%?#$\"'`]")  # what would be taken for more than a character of a path

_NO_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[\w.%~-]*)(?::(\d*))?")

_LONGEST_FILE = 64 * 1024
"""Bytes that are read of a file with an address."""

_SECRET_PARAMETERS = ("password", "sslpassword")

_SECRET_PARAMETER = re.compile(rf"(?<=[?&])(?:{'|'.join(_SECRET_PARAMETERS)})=[^&]*&?")


class StoreAddress(NamedTuple):
    """The place of a store: the `path` of its file, or else the `url` of its database."""

    path: Path | None = None
    url: str = ""


class AddressInFile(str):
    """The path of a file with a store's address, which may become another one: with another password, perhaps."""

    __slots__ = ()


def read_address(written: str) -> StoreAddress:
    """The address as it is meant; UsageError, which shows nothing of it, for what is none.

    White space around it is dropped; a password in it is hidden from all that is printed from now on.
    """
    text = _read_file(written) if isinstance(written, AddressInFile) else written
    text = text.strip().removeprefix("\ufeff").strip()
    _check_text(text)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return StoreAddress(path=_plain_path(text))
    kind, rest = scheme[1].lower(), text[scheme.end() :]
    if kind == "sqlite":
        return StoreAddress(path=_sqlite_path(rest))
    if kind in ("postgresql", "postgres"):
        return StoreAddress(url=f"{kind}:{_check_postgres(rest)}")
    raise _refusal("it starts with an unknown scheme", _FORMS)


def sqlite_address(path: Path) -> str:
    """The address of a file, as `read_address` takes it."""
    return "sqlite:///" + _MEANING.sub(lambda found: f"%{ord(found[0]):02X}", str(path))


def shown_address(written: str) -> str:
    """The address as a command may show it: without a password."""
    address = read_address(written)
    if address.path is not None or isinstance(written, AddressInFile):
        return written.strip()
    user, rest = _split_user(address.url.partition("://")[2])
    cut = _SECRET_PARAMETER.sub("", rest).rstrip("?&")
    return f"postgresql://{user.partition(':')[0]}{'@' if user else ''}{cut}"


def is_there(path: Path) -> bool:
    """True if there is a file; StoreUnusable where this user may not even look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreUnusable(
            f"{sqlite_address(path)}: {error.strerror}; name a file in a folder that this user may open, with --store"
        ) from error
    return True


def _read_file(path: str) -> str:
    try:
        return read_start(Path(path), _LONGEST_FILE).decode()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"TESNAP_STORE_FILE: {path} cannot be read ({why}): write the store's address into it"
        ) from None


def _refusal(what: str, remedy: str) -> UsageError:
    return UsageError(f"not a store (--store or TESNAP_STORE): {what}: {remedy}")


def _check_text(text: str) -> None:
    """Raise for what no address has: it would name a second store, and so a second limit, by mistake."""
    if not text:
        raise _refusal("the address is empty", _FORMS)
    if not is_plain(text):
        raise _refusal("a line break or another control character is in it", "write it again, on one line")
    if text[0] in "\"'`" or text[-1] in "\"'`":
        raise _refusal("a quotation mark is around it", "write it without, as an env file does not remove it")
    password = text.lower().startswith("postgres")  # in which a dollar may stand for itself
    if _UNEXPANDED.search(text) and ("${" in text or "$(" in text or not password):
        raise _refusal("a variable ($…) in it is not filled in", "write what it stands for")


def _plain_path(text: str) -> Path:
    if _KEY_VALUE.match(text):
        raise _refusal("it is a list of KEY=VALUE", f"write postgresql://user@host:port/database; {_ENCODE}")
    if any("@" in part.partition(":")[2] for part in text.split("/")) or "://" in text:
        raise _refusal("it looks like a server's address without its beginning", _FORMS)
    if "?" in text:
        raise _refusal("a path has no ?…", "leave it out, or write sqlite:////absolute/path with %3F for a ?")
    if "/" not in text and not text.endswith(SUFFIXES):
        raise _refusal(f"a single word without an ending such as {', '.join(SUFFIXES)}", _FORMS)
    try:
        return _check_path(Path(text).expanduser().absolute())
    except RuntimeError:  # ~name of a user whom nobody knows
        raise _refusal("the home directory of its ~ is not known", "write the absolute path") from None


def _sqlite_path(rest: str) -> Path:
    if not rest.startswith("////"):
        raise _refusal("sqlite: is not followed by four slashes", "write sqlite:////absolute/path")
    written = rest.removeprefix("///")
    if "?" in written or "#" in written or _NO_ESCAPE.search(written):
        raise _refusal(
            "?, # and a plain % have no place in a path",
            "leave it out, or write %3F, %23 and %25 for these characters",
        )
    try:
        path = unquote(written, errors="strict")
    except UnicodeDecodeError:
        raise _refusal("its percent-encoding is not UTF-8", _FORMS) from None
    return _check_path(Path(path))


def _check_path(written: Path) -> Path:
    """The file as it is called: a link in it may be set to another file later, which has to be noticed."""
    if not is_plain(str(written)):
        raise _refusal("a control character is in its path", "write it again without it")
    path = written.absolute()
    try:
        path.resolve()
    except (OSError, RuntimeError):
        raise _refusal("the symbolic links on its way lead in a circle", "name the file itself") from None
    if str(written).startswith("/~"):
        raise _refusal("a ~ after a slash has no meaning", "write the home directory itself")
    if is_there(path) and path.is_dir():
        raise _refusal(f"{quote(str(path))} is a folder", "name a file in it")
    return path


def _check_postgres(rest: str) -> str:
    """All behind `postgresql:`; UsageError unless it can be split in one way only, as libpq does."""
    if not rest.startswith("//"):
        raise _refusal("two slashes are missing after its first colon", f"{_FORMS}; {_ENCODE}")
    user, where = _split_user(rest[2:])
    hosts, path, query = re.fullmatch(r"([^/?]*)([^?]*)(.*)", where, re.DOTALL).groups()  # type: ignore[union-attr] # fits every text
    clean = not re.search(r"[@#\s]", where) and not re.search(r"\s", user) and not _NO_ESCAPE.search(rest)
    if not clean or path.count("/") > 1 or not all(map(_is_host, hosts.split(","))):
        raise _refusal(
            "it cannot be split into user, password, host, port and database",
            f"{_ENCODE}; a port is a number",
        )
    for secret in _passwords(user, query):
        hide(secret)
    return rest


def _split_user(rest: str) -> tuple[str, str]:
    """Name and password, and all behind them: as libpq, up to the first @, if no slash comes before it."""
    user, at, where = rest.partition("@")
    return (user, where) if at and "/" not in user else ("", rest)


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and (not match[1] or 0 < int(match[1]) <= 65535)


def _passwords(user: str, query: str) -> Iterator[str]:
    written = user.partition(":")[2]
    yield from (written, unquote(written))
    yield from (value for key, value in parse_qsl(query.removeprefix("?")) if key in _SECRET_PARAMETERS)
