"""What each registered defense does on planted and on clean models: `python -m benchmarks.defenses`."""
