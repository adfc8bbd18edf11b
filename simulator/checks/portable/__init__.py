"""Whether this machine gives, under `numerics: portable`, the bits of the records that were noted on others."""
