"""The standard timeline as others would play it: a classic PyTorch loop, and Avalanche. Beside them, ours."""
