"""The nouns of a run."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.jobs import Window
from orchestrator.core.tasks import Task


def test_a_task_makes_its_key_once() -> None:
    """It is asked for again and again while the task is worked on; another generation has another one."""
    task = Task(
        organization="acme",
        account_group="1",
        test_id="2",
        window=Window(start=0, end=60),
        is_public=False,
        display_name="",
        job_name="",
    )
    assert task.key is task.key
    assert task == replace(task)
    assert replace(task, generation=1).key != task.key == task.base_key
