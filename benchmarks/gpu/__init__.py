"""What one GPU does of what it could: cohorts of timelines, and steps of ResNet-18."""
