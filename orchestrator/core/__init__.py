"""The nouns (jobs, tasks, events, errors) and what every other package needs: clock, text, secrets."""

from typing import TYPE_CHECKING

from orchestrator import lazy_face

if TYPE_CHECKING:
    from orchestrator.core.clock import Clock, ScaledClock, SystemClock, machine_zone, utc_text
    from orchestrator.core.errors import (
        AccessRefused,
        ApiUnavailable,
        CredentialError,
        ExitCode,
        GrantStale,
        JobFileError,
        LeaseLost,
        Located,
        SelectionError,
        StoreTrouble,
        StoreUnavailable,
        StoreUnusable,
        TesnapError,
        UsageError,
        WindowError,
    )
    from orchestrator.core.events import Ending, Event, Observer, Progress, Waiting
    from orchestrator.core.files import printable, read_start
    from orchestrator.core.jobs import (
        DEFAULT_BASE_URL,
        DEFAULT_DISPLAY_NAME,
        MOST_SLOTS,
        MOST_SNAPSHOTS,
        SINCE_ALERT,
        CredentialSource,
        Fit,
        Http,
        Job,
        JobFile,
        Limit,
        Notify,
        OnUncertain,
        Organization,
        Pace,
        Priority,
        RetryRules,
        Select,
        TestRef,
        Window,
        WindowSpec,
        identity,
    )
    from orchestrator.core.patterns import is_like, matches, nearest_names
    from orchestrator.core.redact import (
        change_texts,
        escape_formula,
        escape_markdown,
        harmless,
        holds_secret,
        is_plain,
        is_secret_key,
        looks_secret,
        mask_secrets,
        without_credentials,
        without_links,
    )
    from orchestrator.core.tasks import (
        EARLIEST,
        KEY_AS_TEXT,
        KEY_FIELD,
        LATEST,
        SNAPSHOT_LIFETIME,
        Closing,
        Counts,
        Lease,
        Problem,
        Reason,
        Result,
        Run,
        RunState,
        Settlement,
        Snapshot,
        Status,
        Task,
    )
    from orchestrator.core.text import choice, first_names, nearest_word, nearest_words, plural, quote, word
    from orchestrator.core.urls import USUAL_PORTS, check_base_url, is_loopback, is_unencrypted
else:
    __getattr__ = lazy_face(__name__)
