"""What the fuzzer kept: one archive for each reader, the same bytes for the same cases."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: the earliest that the format can say."""


def read_corpus(reader: str) -> list[bytes]:
    """All cases of a reader; none where nothing was kept yet."""
    path = FOLDER / f"{reader}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def write_corpus(reader: str, cases: Iterable[bytes]) -> None:
    """Keep these cases instead of those of before."""
    with zipfile.ZipFile(FOLDER / f"{reader}.zip", "w") as archive:
        for number, case in enumerate(sorted(set(cases), key=lambda one: (len(one), one))):
            archive.writestr(
                zipfile.ZipInfo(f"{number:05}", LONG_AGO), case, compress_type=zipfile.ZIP_DEFLATED
            )
