"""API tokens: read from where the job file says, checked before use, sent as the bytes leave, and never shown."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.core import (
    CredentialError,
    CredentialSource,
    JobFile,
    Organization,
    hide,
    looks_secret,
    read_start,
)

MAX_BYTES = 64 * 1024
"""The largest token file that is read: a token has some dozens of characters, a wrong file may have more."""

CREDENTIAL_MARK = "<credential>"
"""The placeholder of the credential in every value that urllib3 and requests get to see."""

_MARKED = f"\r\nAuthorization: {CREDENTIAL_MARK}\r\n".encode()  # cannot stand in a JSON body: CR and LF

_SENDABLE = re.compile(r"[\x21-\x7e]+")  # printable ASCII without the space: what a header can hold

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, `b64token`: what may follow the word Bearer

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)  # ThousandEyes' own form

_PLACEHOLDER = "holds a placeholder: put the token itself into it"

_NO_TOKENS = tuple(
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (r"^bearer\s", "starts with the word Bearer: put the token alone into it"),
        (r"^[{\[]", "holds JSON or a template: put the token's own text alone into it"),
        (r"^[\"'`]|[\"'`]$", "has quotation marks around the token: put it in without them"),
        (
            r"[$<>{}]|^%",
            "holds a placeholder or a variable that is not filled in: put the token itself into it",
        ),
        (
            r"^(?:export\s+)?[a-z_]\w*=+[^=\s]",
            "holds NAME=VALUE, as an env file: put the value alone into it",
        ),
        (r"\s", "has white space within it: put one token alone into it"),
        (r"://", "holds an address: put the API token into it"),
        (
            r"^(?:~|\.{0,2}/)",
            "holds a path: write the path as token_file or TE_TOKEN_FILE, or put the token itself there",
        ),
        (
            r"^(?!.*\d)(?:.*[-_.])?(?:replace|change|changeme|your|insert|placeholder|todo|fixme|example|dummy)(?:[-_.]|$)",
            _PLACEHOLDER,
        ),
        (
            r"^(?:(?:my|te|api|the|access|bearer)[-_.]?)*(?:token|secret|key)$|^(?:null|none|undefined)$|^(.)\1{3,}$",
            _PLACEHOLDER,
        ),
    )
)
"""Texts that are found where a token belongs, and what to do about each."""

_SHORTEST_MASKED = 8  # masking every occurrence of a shorter text would tear answers apart

_HIDDEN = "Bearer(…)"


class Bearer:
    """An API token that nothing shows by accident: its text comes from `reveal` alone."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The token itself, for an Authorization header and nothing else."""
        return self._text

    def digest(self, key: bytes) -> str:
        """A text by which the token is known again to whoever has the key, and from which nobody gets it back."""
        return hmac.new(key, self._text.encode(), hashlib.sha256).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bearer) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash((Bearer, self._text))

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __reduce__(self) -> str:
        raise TypeError("a token is not pickled: it would lie in a file or a log")


ReadBearer = Callable[[Organization], Bearer]
"""Reads an organization's credential from its source; CredentialError when there is none to use."""


class ReloadableBearer:
    """An organization's credential as this process holds it; no text that it ever had is printed."""

    def __init__(self, organization: Organization, read: ReadBearer) -> None:
        self._organization, self._read = organization, read
        self._bearer = read(organization)
        self._seen: Bearer | None = None
        self._refused: set[Bearer] = set()
        hide(self._bearer.reveal())

    def __call__(self) -> str:
        return self._bearer.reveal()

    @property
    def present(self) -> Bearer:
        """The credential as it is now."""
        return self._bearer

    def reload(self) -> bool:
        """Read the source again, since its present text was refused; True if it has one that was not.

        A text counts when it is read twice in a row: a file may be half written. One that cannot be read has none.
        """
        self._refused.add(self._bearer)
        before, self._seen = self._seen, None
        with suppress(CredentialError):
            self._seen = self._read(self._organization)
        if self._seen is None or self._seen != before or self._seen in self._refused:
            return False
        self._bearer = self._seen
        hide(self._bearer.reveal())
        return True


class Authorization:
    """The credential of one attempt: it enters a request as its bytes leave, and answers never keep it.

    CredentialError for a text that no header can hold.
    """

    __slots__ = ("_bearer",)

    def __init__(self, bearer: Callable[[], str]) -> None:
        self._bearer = bearer().strip()  # never a local variable: tracebacks show those
        if not _SENDABLE.fullmatch(self._bearer):
            raise CredentialError(
                "the API token is empty or has spaces, line breaks or other characters that a header cannot "
                "hold: write it again, alone on one line"
            )

    def put(self, data: bytes) -> bytes:
        """The bytes to send, with the credential in its place."""
        return data.replace(_MARKED, f"\r\nAuthorization: Bearer {self._bearer}\r\n".encode(), 1)

    def mask(self, data: bytes) -> bytes:
        """The bytes that came, without the credential that some servers echo."""
        if len(self._bearer) < _SHORTEST_MASKED:
            return data
        return data.replace(self._bearer.encode(), b"***")


def read_bearer(source: CredentialSource, *, environ: Mapping[str, str]) -> Bearer:
    """The token of this source, without white space and byte order mark around it.

    CredentialError says which file or variable is wrong and what to do, never what stands in it.
    """
    if source.file is not None:
        where = _describe_file(source.file)
        return _check_token(_file_text(Path(source.file), where), where)
    if source.env is not None:
        where = f"the variable {source.env}"
        if source.env not in environ:
            raise CredentialError(f"{where} is not set: put the API token into it")
        return _check_token(environ[source.env], where)
    raise CredentialError(
        "no API token is named: write token_file or token_env, or set TE_TOKEN_FILE or TE_TOKEN"
    )


def read_bearers(
    jobfile: JobFile, names: Collection[str], read: ReadBearer
) -> tuple[dict[str, ReloadableBearer], dict[str, str]]:
    """The credentials that can be used, by organization, and what is wrong with the others.

    CredentialError, which names all of them, when there is none that can.
    """
    bearers: dict[str, ReloadableBearer] = {}
    wrong: dict[str, str] = {}
    for name in names:
        try:
            bearers[name] = ReloadableBearer(jobfile.organizations[name], read)
        except CredentialError as error:
            wrong[name] = str(error)
    if wrong and not bearers:
        raise CredentialError("\n".join(f"{name}: {text}" for name, text in wrong.items()))
    return bearers, wrong


def _describe_file(path: str) -> str:
    """The file as an error names it: not when somebody took the token itself for its path."""
    if "/" not in path and looks_secret(path):
        return "the token file, whose name looks like a token itself and is not shown,"
    return f"the token file {path}"


def _file_text(path: Path, where: str) -> str:
    try:
        content = read_start(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise CredentialError(f"{where} {_describe_trouble(error)}") from None
    if len(content) > MAX_BYTES:
        raise CredentialError(f"{where} is larger than {MAX_BYTES // 1024} KiB: it is not a token file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformation(where) from None


def _describe_trouble(error: OSError | ValueError) -> str:
    """The reason why a file cannot be read, and what to do."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist: write the API token into it, or correct the path"
    if isinstance(error, IsADirectoryError):
        return "is a folder: name the file in it"
    if isinstance(error, PermissionError):
        return "may not be read by this user: allow it (chmod, or the secret's defaultMode)"
    return f"cannot be read: {getattr(error, 'strerror', None) or 'no such path can exist'}"


def _check_token(text: str, where: str) -> Bearer:
    """The token; CredentialError for what cannot be one: sent, it would be refused, and could lock the account."""
    token = text.strip().removeprefix("\ufeff").strip()
    if not token:
        raise CredentialError(f"{where} is empty: put the API token into it")
    for pattern, wrong in _NO_TOKENS:
        if pattern.search(token):
            raise CredentialError(f"{where} {wrong}")
    if not _TOKEN.fullmatch(token):
        raise _malformation(where)
    if _is_encoded(token):
        raise CredentialError(f"{where} holds a token in base64: put the token itself into it, decoded")
    hide(token)
    return Bearer(token)


def _is_encoded(token: str) -> bool:
    """True for a token that was encoded once more than a Kubernetes Secret decodes it."""
    with suppress(ValueError):
        return _UUID.fullmatch(b64decode(token, validate=True).decode("ascii").strip()) is not None
    return False


def _malformation(where: str) -> CredentialError:
    return CredentialError(
        f"{where} has characters that no API token has (control or non-ASCII ones): copy the token again, as plain text"
    )
