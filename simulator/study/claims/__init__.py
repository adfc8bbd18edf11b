"""From the claims of a study and its played timelines to findings and verdicts."""
