"""What is sent to Prefect while a run is played: artifacts, alarms, and which process plays it."""
