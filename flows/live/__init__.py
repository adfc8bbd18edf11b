"""Runs that go on as time passes: what is due, which run is next, what is asked of one from outside."""
