"""Benchmarks on one GPU against its own peaks: cohorts of timelines, and steps of ResNet-18."""
