"""The nouns (jobs, tasks, events, errors) and what every other package needs: clock, text, secrets.

Where to look:

    jobs       the nouns of a job file
    tasks      the nouns of a run: tasks, leases, settlements, results
    starts     the memory of a run: who started it, and how that ended
    events     the news of a run, and the observer that hears them
    errors     all that is raised on purpose, and the exit codes
    clock      time: the only module that reads a clock or sleeps
    text       quotes, lists of names, the nearest word
    hidden     secrets, found in any text
    redact     text without secrets, harmless where it is shown
    patterns   parts of names and what matches them
    urls       addresses
    files      files that a user names
"""

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
        RunBeingPlanned,
        SelectionError,
        StoreGone,
        StoreTrouble,
        StoreUnavailable,
        StoreUnusable,
        TesnapError,
        UsageError,
        WindowError,
    )
    from orchestrator.core.events import TROUBLE, Ending, Event, Observer, Progress, Waiting, urgency
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
        Ping,
        PingStyle,
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
        hide,
        holds_secret,
        is_plain,
        is_secret_key,
        leaving_text,
        looks_secret,
        mask_secrets,
        without_credentials,
        without_links,
    )
    from orchestrator.core.starts import Start, StartEnd, Success
    from orchestrator.core.tasks import (
        EARLIEST,
        KEY_AS_TEXT,
        KEY_FIELD,
        LATEST,
        LEAST_AGE,
        MOST_RESENDS,
        SNAPSHOT_LIFETIME,
        Closing,
        Counts,
        Existence,
        Lease,
        ListedEvents,
        PossibleEvent,
        Problem,
        Reason,
        RefusedOrganization,
        Result,
        Run,
        RunState,
        Settlement,
        Snapshot,
        Status,
        Task,
    )
    from orchestrator.core.text import (
        choice,
        closest,
        first_names,
        nearest_word,
        nearest_words,
        plural,
        quote,
        word,
    )
    from orchestrator.core.urls import (
        USUAL_PORTS,
        check_base_url,
        find_address,
        host_port,
        is_loopback,
        is_unencrypted,
        normalise_url,
        split_url,
    )
else:
    __getattr__ = lazy_face(__name__)
