"""How far a run is, as its observer is told."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.support.virtual import Stage


def test_what_was_told_is_counted_at_once(tmp_path: Path) -> None:
    """In the step that tells of results, the counts are told with them: nobody reads five links above a zero."""
    with closing(Stage(f"sqlite:///{tmp_path}/store.db", tests=12, latency=(0.4, 0.3))) as stage:
        worker, notebook = stage.worker(stage.jobfile(12))
        worker.open()
        while True:
            before = len(notebook.results)
            wake = worker.step()
            if len(notebook.results) > before:
                assert notebook.progresses[-1].counts.settled == len(notebook.results)
            if wake is None:
                break
            following = stage.timeline.next()
            stage.timeline.go_to(wake if following is None else min(wake, following))
        assert len(notebook.results) == 12
