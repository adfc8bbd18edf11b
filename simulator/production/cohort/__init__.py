"""Training of several timelines at once: networks of one shape stacked into one, each with its own data and rates."""
