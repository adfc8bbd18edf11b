"""A study as a document: Markdown, with pictures beside it."""

from simulator.study.document.words import facts
from simulator.study.document.write import write_document

__all__ = ["facts", "write_document"]
