"""A run's results as a page, as Markdown, as a table, and as a message to a channel.

Where to look:

    page       what a report says: rows, sentences, commands, failures first
    timeline   the run as a drawing
    render     the report as text, and the files of `--report`
    notify     the message that tells others how a run ended
"""
