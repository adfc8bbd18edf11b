"""The standard timeline in other frameworks (a classic PyTorch loop, Avalanche), and in ebbdoor beside them."""
