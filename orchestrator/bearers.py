"""The credentials of one start of the program, as this process holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection

from orchestrator.credentials import Bearer
from orchestrator.errors import CredentialError
from orchestrator.model import JobFile, Organization

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


def all_bearers(
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
