"""The words for people and programs: records, sentences, tables, the live view, reports.

Where to look:

    records       the JSON lines that programs read of a run
    log           records and log events on their way to a stream, secrets masked
    sentences     what people read of a run: its waits, its rows, its last line
    formats       results on standard output: records, table, Markdown, CSV
    terminal      the view of a run while it goes on
    live          the line that is drawn again and again
    streams       lines that go out whole, streams that keep nobody waiting
    table         columns in a terminal
    plan_text     `tesnap plan`
    status_text   `tesnap status` and `tesnap runs`
    snapshots     `tesnap list`
    prune_text    `tesnap prune`
    archive       the records of runs that are to be forgotten, as a file
    metrics       a text file for Prometheus
    test_list     `tesnap tests`
    report        a run's results as a page, a file, a message
"""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.output.archive import Archive
    from orchestrator.output.formats import Format, Output
    from orchestrator.output.log import event_log, find_trace_id, write_event
    from orchestrator.output.metrics import (
        check_metrics_path,
        load_figures,
        metrics_text,
        write_metrics,
    )
    from orchestrator.output.plan_text import plan_document, plan_lines
    from orchestrator.output.prune_text import (
        forgotten_document,
        forgotten_lines,
        forgotten_text,
        old_runs_lines,
    )
    from orchestrator.output.report.notify import notify_all
    from orchestrator.output.report.page import Report, join_reports, load_results
    from orchestrator.output.report.render import (
        SUFFIXES,
        ReportFormat,
        check_report_path,
        is_stream,
        print_report,
        write_report,
    )
    from orchestrator.output.sentences import (
        duration_text,
        holder_text,
        last_line,
        loss_text,
        match_text,
        pause_text,
    )
    from orchestrator.output.snapshots import (
        SnapshotFilter,
        choose_shown,
        find_snapshots,
        snapshots_documents,
        snapshots_table,
    )
    from orchestrator.output.status_text import (
        describe_uncertain,
        load_status,
        pending_reasons,
        run_document,
        runs_table,
        status_document,
        status_lines,
    )
    from orchestrator.output.streams import CleanText, Lines, Outlet, terminal_room
    from orchestrator.output.table import wrap_line
    from orchestrator.output.terminal import View
    from orchestrator.output.test_list import (
        FoundTest,
        documents_of_tests,
        ids_of_tests,
        table_of_tests,
        yaml_of_tests,
    )
else:
    __getattr__ = lazy_face(__name__)
