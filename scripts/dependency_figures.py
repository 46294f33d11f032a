"""Measure what each dependency costs: `make figures` prints the tables of docs/dependencies.md.

Import time is the median of several fresh interpreters' `-X importtime`, everything that the import
brings included, in milliseconds; size is that of the installed files of the distribution and of all it
requires, in megabytes.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

RUNS = 11
IMPORTS = {
    "requests": "requests",
    "tenacity": "tenacity",
    "PyYAML": "yaml",
    "structlog": "structlog",
    "click": "click",
    "rich": "rich.live",
    "platformdirs": "platformdirs",
    "Jinja2": "jinja2",
    "tzdata": "tzdata",
    "psycopg": "psycopg",
}


def import_ms(module: str) -> float:
    """Milliseconds to import the module and all that it brings."""
    return statistics.median(_import_once(module) for _ in range(RUNS))


def _import_once(module: str) -> float:
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    # Lines are `import time: self us | cumulative us | indented name`; depth 0 from `site` on is ours.
    rows = [line.removeprefix("import time:").split("|") for line in report.splitlines()[1:]]
    site = next(number for number, row in enumerate(rows) if row[2].strip() == "site")
    return sum(int(row[0]) for row in rows[site + 1 :]) / 1000


def closure(name: str, known: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """The distribution and all installed ones that it requires."""
    known = {} if known is None else known
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return known
    if found.name not in known:
        known[found.name] = found
        for requirement in found.requires or ():
            if "extra ==" not in requirement:
                closure(re.split(r"[^\w.-]", requirement, maxsplit=1)[0], known)
    return known


def megabytes(found: Distribution) -> float:
    """The size of the files that an installation writes, byte code left out."""
    sizes = (Path(str(file.locate())) for file in found.files or () if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in sizes if path.is_file()) / 1e6


def main() -> None:
    """Print one row for each dependency."""
    print(f"Python {sys.version.split()[0]}, median of {RUNS}")
    print("| distribution | version | ms | MB | distributions |\n|---|---|---|---|---|")
    for name, module in IMPORTS.items():
        parts = closure(name)
        if name == "psycopg":
            parts = closure("psycopg-binary", parts)
        size = sum(map(megabytes, parts.values()))
        print(
            f"| {name} | {distribution(name).version} | {import_ms(module):.0f} | {size:.1f} | {len(parts)} |"
        )


if __name__ == "__main__":
    main()
