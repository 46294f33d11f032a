"""A run's results as a page, as Markdown, as a table, and as a message to a channel."""
