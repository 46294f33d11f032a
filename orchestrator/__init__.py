"""tesnap: ThousandEyes test snapshots in bulk, at the pace the API allows, with nothing lost or made twice.

A YAML job file becomes tasks, tasks wait in a durable queue, each organization's bucket of five tokens
decides when the next one may go, the client makes one attempt, and every settled task leaves one record.
Imports point down this map:

    cli            options in, exit code out
    rehearsal      the whole run around the simulator
    app            the composition root: puts the parts together
    view           what a run shows while it goes on; preview: `plan`; doctor: what would go wrong; premises: on this machine
    incident       words of a command line -> a job file (`snap`)
    found_tests    `tests`; snapshot_list: `list`; standing: `status` and `runs`; notify: telling others
    report         a run's results for people; page: what it says; post: one message to one webhook
    formats        results on standard output; live: the live line; timeline: a run as a drawing
    worker         grant, send, settle, record; unchecked: names that cannot be checked; surprises: expect_saved_event
    earlier        the runs that are there already
    showing        how far a worker's run is; ended: why it ended so; watch: what it watches in the store
    evidence       what became of a lost answer; stopping: an early end
    survey         who an organization is, and what its lists say
    paced          reading within the general limit
    agenda         which organization is looked at next; lane: what one of them has answered so far
    sender         between worker and wire; life: what the end of an attempt makes of its task
    records        every record and log event; narrate: sentences for people; tidings: what is worth one
    progress       what a run tells, as values; lines: whole lines; safe_text: without secrets; display_width: columns
    stores         the durable queue in SQLite or PostgreSQL; queue: what it promises
    scheduler      a job file -> tasks
    bucket         token arithmetic
    homes          whose a typed id is; gaps: lists that could not be read
    selectors      which tests are meant; moments: when their alerts matter; patterns: parts of names
    catalog        what the API lists; outcome: what an answer means; retry: waits between attempts
    client         one attempt at one call; wire: the first byte, the last moment; answer: what came back
    bearers        the credentials of this process; credentials: where one is read
    jobfile        YAML -> JobFile, or every error at once; extent: a part of it
    assembly       what entries come to; draft: where everything stands; grammar: the keys; yamlcore: the text
    windows        time windows (instants, lengths, durations)
    wording        how an error quotes; secrecy: what looks like a credential; intake: the files that a user names
    addresses      base URLs and hosts
    model          the nouns; errors: all that is raised on purpose; clock: time

    simulator      a stand-in for the API that shares no code with any of this
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
