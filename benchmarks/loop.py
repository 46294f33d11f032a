"""A bare loop of `requests`: nothing is paced, retried or kept. What a snapshot costs at the very least in Python.

`python -m benchmarks.loop ORIGIN ORGANIZATIONS TASKS RECORDS` makes the snapshots and writes what came back.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import requests

from benchmarks.server import FIRST_TEST, token_of


def main() -> None:
    """One request after the other over one session."""
    origin, organizations, tasks, records = sys.argv[1:]
    with requests.Session() as session, Path(records).open("w", encoding="utf-8") as file:
        for test in range(FIRST_TEST, FIRST_TEST + int(tasks)):
            for organization in range(1, int(organizations) + 1):
                answer = session.post(
                    f"{origin}/v7/tests/{test}/snapshot",
                    params={"aid": "1234"},
                    headers={"Authorization": f"Bearer {token_of(organization)}"},
                    json={
                        "displayName": f"Checkout {test} 2026-11-20T14:00:00Z +1h",
                        "startDate": "2026-11-20T14:00:00Z",
                        "endDate": "2026-11-20T15:00:00Z",
                        "isPublic": False,
                    },
                    timeout=60,
                )
                answer.raise_for_status()
                file.write(f"{json.dumps(answer.json())}\n")


if __name__ == "__main__":
    main()
