"""`ebbdoor bench`: the standard timeline, timed by stage, beside the bare torch loop of the same work."""
