"""What looks like a credential, wherever it turns up.

Two questions: whether text says that a credential follows (`Bearer …`, `token=…`), which is masked in whatever
leaves; and whether text has a credential's form. The second one is asked of job files alone, since ids of the
API have that form, too.
"""

from __future__ import annotations

import re

_LOOKED_AT = 4096  # characters: no credential begins later in a text that somebody typed
_VALUE = r"(?=[a-z._~+/=-]{0,999}\d)[a-z0-9._~+/=-]{8,}"  # with a digit: "Bearer token" is no credential

_ANNOUNCED = re.compile(
    r"(\b(?:bearer|basic)(?:\s|%20|\+)+"
    rf"|(?:token|secret|password|authorization|api[-_]?key)[\"']?\s*[:=]\s*[\"']?){_VALUE}",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"\bbearer\s+\S"  # an Authorization header
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"  # ThousandEyes' own form, a UUID
    r"|\beyJ[\w-]+\.[\w-]+"  # a JSON Web Token
    r"|\b(?=[a-z]*[0-9])(?=[0-9]*[a-z])[0-9a-z]{32,}\b",  # a long run of letters and digits
    re.IGNORECASE | re.ASCII,
)


_SURELY = re.compile(
    r"\b(?:bearer|basic)\s+(?=[a-z._~+/=-]*\d)[a-z0-9._~+/=-]{16,}"  # an Authorization header with its value
    r"|(?<![/\w-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![/\w-])"  # a UUID, not in a path
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]+",  # a JSON Web Token
    re.IGNORECASE | re.ASCII,
)


def holds_secret(text: str) -> bool:
    """Whether a text of the user's own, which may say anything, holds what is hardly anything but a token.

    A hash, a build's number or the word `bearer` does no harm there.
    """
    return _SURELY.search(text[:_LOOKED_AT]) is not None


def looks_secret(text: str) -> bool:
    """Whether the text may be an API token; a long text may always be one."""
    start = text[:_LOOKED_AT]
    return _FORM.search(start) is not None or _ANNOUNCED.search(start) is not None


def without_credentials(text: str, mask: str) -> str:
    """The text with the mask in place of whatever is said to be a credential."""
    return _ANNOUNCED.sub(lambda found: found[1] + mask, text)
