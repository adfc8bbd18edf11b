"""What Prefect is told of a run that is played: tasks, artifacts, alarms, and which process plays it."""
