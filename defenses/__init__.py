"""Defenses: the contract, and the members that ship. A leaf: torch and scientific libraries only."""

from defenses.base import (
    Context,
    Defense,
    Filter,
    FilterResult,
    Inspector,
    InspectorResult,
    Repair,
    RepairResult,
    Rows,
    Screen,
    ScreenResult,
    Size,
)

__all__ = [
    "Context",
    "Defense",
    "Filter",
    "FilterResult",
    "Inspector",
    "InspectorResult",
    "Repair",
    "RepairResult",
    "Rows",
    "Screen",
    "ScreenResult",
    "Size",
]
