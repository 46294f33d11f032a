"""API tokens: read from where the job file says, checked before use, and never shown."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from orchestrator.core import (
    CredentialError,
    CredentialSource,
    JobFile,
    Organization,
    looks_secret,
    read_start,
)

MAX_BYTES = 64 * 1024
"""The largest token file that is read: a token has some dozens of characters, a wrong file may have more."""

_HIDDEN = "Bearer(…)"


class Bearer:
    """An API token that shows itself only to who asks for it by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The token itself, for an Authorization header and nothing else."""
        return self._text

    def matches(self, other: Bearer) -> bool:
        """Whether both are the same token: after a 401, whether reading its source again gave another one."""
        return hmac.compare_digest(self._text, other._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bearer) and self.matches(other)

    def __hash__(self) -> int:
        return hash((Bearer, self._text))

    def __repr__(self) -> str:
        return _HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __reduce__(self) -> str:
        raise TypeError("a token is not pickled: it would lie in a file or a log")


def read_bearer(source: CredentialSource, *, environ: Mapping[str, str]) -> Bearer:
    """The token of this source, without white space and byte order mark around it.

    CredentialError says which file or variable is wrong and what to do, never what stands in it.
    """
    if source.file is not None:
        where = _named(source.file)
        return _checked(_file_text(Path(source.file), where), where)
    if source.env is not None:
        where = f"the variable {source.env}"
        if source.env not in environ:
            raise CredentialError(f"{where} is not set: put the API token into it")
        return _checked(environ[source.env], where)
    raise CredentialError(
        "no API token is named: write token_file or token_env, or set TE_TOKEN_FILE or TE_TOKEN"
    )


def _named(path: str) -> str:
    """The file as an error names it: not when somebody took the token itself for its path."""
    if "/" not in path and looks_secret(path):
        return "the token file, whose name looks like a token itself and is not shown,"
    return f"the token file {path}"


def _file_text(path: Path, where: str) -> str:
    try:
        content = read_start(path, MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise CredentialError(f"{where} {_trouble(error)}") from None
    if len(content) > MAX_BYTES:
        raise CredentialError(f"{where} is larger than {MAX_BYTES // 1024} KiB: it is not a token file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed(where) from None


def _trouble(error: OSError | ValueError) -> str:
    """What keeps a file from being read, and what to do."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist: write the API token into it, or correct the path"
    if isinstance(error, IsADirectoryError):
        return "is a folder: name the file in it"
    if isinstance(error, PermissionError):
        return "may not be read by this user: allow it (chmod, or the secret's defaultMode)"
    return f"cannot be read: {getattr(error, 'strerror', None) or 'no such path can exist'}"


def _checked(text: str, where: str) -> Bearer:
    token = text.strip().removeprefix("\ufeff").strip()
    if not token:
        raise CredentialError(f"{where} is empty: put the API token into it")
    if token.lower().startswith("bearer "):
        raise CredentialError(f"{where} starts with the word Bearer: put the token alone into it")
    if any(character.isspace() for character in token):
        raise CredentialError(f"{where} has white space within it: put one token alone into it")
    if not all("!" <= character <= "~" for character in token):
        raise _malformed(where)
    return Bearer(token)


def _malformed(where: str) -> CredentialError:
    return CredentialError(
        f"{where} has characters that no API token has (control or non-ASCII ones): copy the token anew, as plain text"
    )


ReadBearer = Callable[[Organization], Bearer]


class BearerInHand:
    """An organization's credential as this process holds it; every text it ever had is added to `secrets`."""

    def __init__(self, organization: Organization, read: ReadBearer, secrets: set[str]) -> None:
        self._organization, self._read, self._secrets = organization, read, secrets
        self._bearer = read(organization)
        secrets.add(self._bearer.reveal())

    def __call__(self) -> str:
        return self._bearer.reveal()

    def reload(self) -> bool:
        """Read the source again; whether its text changed. One that cannot be read any more has not."""
        before = self._bearer
        with contextlib.suppress(CredentialError):
            self._bearer = self._read(self._organization)
        self._secrets.add(self._bearer.reveal())
        return self._bearer != before


def read_bearers(
    jobfile: JobFile, names: Collection[str], read: ReadBearer, secrets: set[str]
) -> dict[str, BearerInHand]:
    """Every organization's credential, or one error that names all that are missing or malformed."""
    bearers: dict[str, BearerInHand] = {}
    errors: list[str] = []
    for name in names:
        try:
            bearers[name] = BearerInHand(jobfile.organizations[name], read, secrets)
        except CredentialError as error:
            errors.append(f"{name}: {error}")
    if errors:
        raise CredentialError("\n".join(errors))
    return bearers
