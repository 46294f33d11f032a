"""The bill of materials of an image: `sbom.py ROOT` prints a CycloneDX document of what is in that root folder.

What Debian's package manager and Python's have noted down of themselves is read from their own files.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]


def debian_packages(root: Path) -> Iterator[Component]:
    """The installed packages of Debian."""
    status = root / "var/lib/dpkg/status"
    blocks = status.read_text("utf-8").split("\n\n") if status.exists() else []
    for block in blocks:
        fields = HeaderParser().parsestr(block)
        if (fields["Status"] or "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            place = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={fields['Architecture']}"
            yield {"type": "library", "name": name, "version": version, "purl": place, "bom-ref": place}


def python_distributions(root: Path) -> Iterator[Component]:
    """The installed distributions of Python, wherever an interpreter may find them."""
    for file in sorted(root.glob("**/*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(file.read_text("utf-8"))
        name, version = fields["Name"], fields["Version"]
        place = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version)}"
        made: Component = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": place,
            "bom-ref": place,
        }
        if spoken := fields["License-Expression"]:
            made["licenses"] = [{"expression": spoken}]
        yield made


def document(root: Path) -> dict[str, Any]:
    """The whole bill."""
    found = {one["bom-ref"]: one for one in (*debian_packages(root), *python_distributions(root))}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "tesnap"}},
        "components": [found[key] for key in sorted(found)],
    }


if __name__ == "__main__":
    print(json.dumps(document(Path(sys.argv[1])), indent=2))
