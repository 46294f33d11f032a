"""tesnap: ThousandEyes test snapshots in bulk, at the pace the API allows, with nothing lost or made twice.

A YAML job file becomes tasks, tasks wait in a durable queue, each organization's bucket of five tokens
decides when the next one may go, the client makes one attempt, and every settled task leaves one record.
Imports point down this map:

    cli            options in, exit code out
    app            puts the parts together; rehearsal does so around the simulator
    view           what a run shows (formats, live, narrate, lines, safe_text); preview and standing: plan, status
    worker         grant, send, settle, record (watch, evidence, stopping, tidings, lane, life, sender)
    survey         who an organization is and which tests it has
    scheduler      a job file -> tasks (selectors: which tests are meant)
    stores         the durable queue in SQLite or PostgreSQL, as queue promises it
    bucket         token arithmetic; retry: waits between attempts
    client         one attempt at one call (wire, answer); outcome: what it means; catalog: what the API lists
    jobfile        YAML -> JobFile, or every error at once (assembly, grammar, draft, yamlcore, wording)
    windows        time windows (instants, lengths, durations)
    model          the nouns; errors: all that is raised on purpose; clock: time; addresses

    simulator      a stand-in for the API that shares no code with any of this
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
