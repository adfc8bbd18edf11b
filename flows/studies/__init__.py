"""Studies under Prefect: the flows `study` and `timeline`, and timelines played by other machines."""
