"""What `ebbdoor status`, `ebbdoor reconcile` and `ebbdoor rollback` do."""
