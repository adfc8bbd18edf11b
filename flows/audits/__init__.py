"""Audits of models that are registered already: the order, how it is carried out, and its rows."""
