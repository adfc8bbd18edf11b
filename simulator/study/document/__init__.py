"""A study as a document: Markdown, with pictures beside it."""
