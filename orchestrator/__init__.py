"""tesnap: ThousandEyes test snapshots in bulk, at the pace the API allows, with nothing lost or made twice.

A YAML job file becomes tasks, tasks wait in a durable queue, each organization's bucket of five tokens
decides when the next one may go, the client makes one attempt, and every settled task leaves one record.
Imports point down this map; a package is used through what its `__init__` offers:

    cli            options in, exit code out
    app            one use case a file: make snapshots, make a plan, find tests, examine a set-up
    output         what people and programs read: records, sentences, tables, the live view, reports
    planning       a job file and the API's lists -> tasks
    worker         grant, send, settle, until the queue is empty
    api            ThousandEyes over HTTP: one attempt at one call, and what its answer means
    store          the durable queue in SQLite or PostgreSQL
    jobfile        YAML -> JobFile, or every error at once
    ratelimit      the arithmetic of tokens, gate and waits
    windows        time windows of a length that the API takes
    core           the nouns, and what all the others need

    simulator      a stand-in for the API that shares no code with any of this
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"

_IMPORT = re.compile(r"^    from (\S+) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)
"""An import in a face's `if TYPE_CHECKING:` block: a module, and its names on several lines or on one."""


def lazy_face(package: str) -> Callable[[str], object]:
    """The `__getattr__` of a package that offers the names imported in its `if TYPE_CHECKING:` block.

    A module is imported when the first of its names is used (PEP 562), so that a command pays only for what
    it needs. AttributeError for a name that the package does not offer.
    """
    offered: dict[str, str] = {}

    def find(name: str) -> object:
        if not offered:
            offered.update(_face_names(package))
        if name not in offered:
            raise AttributeError(f"package {package!r} offers no {name!r}")
        value = getattr(importlib.import_module(offered[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find


def _face_names(package: str) -> dict[str, str]:
    """Each name that a package offers, with the module that defines it; Python's own parser would take longer."""
    spec: Any = sys.modules[package].__spec__  # whose loader also reads an archive
    text = spec.loader.get_data(spec.origin).decode()
    return {
        name: found[1]
        for found in _IMPORT.finditer(text)
        for name in re.findall(r"\w+", found[2] or found[3])
    }
