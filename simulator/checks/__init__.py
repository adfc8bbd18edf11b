"""Conformance of plug-ins: what every member of a kind must do."""

from simulator.checks.run import check, kind_of
from simulator.checks.subject import CheckResult

__all__ = ["CheckResult", "check", "kind_of"]
