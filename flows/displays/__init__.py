"""Displays of runs and studies while they are played, on a terminal or in a log."""
