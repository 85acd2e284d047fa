"""Which way is best: the same cases, steps and network, and one thing that differs."""
