"""A filter that asks the model about every label."""
