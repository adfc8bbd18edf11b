"""Setting the threshold of a defense on clean updates of a user's own, at a stated false-alarm rate."""
