"""Review of labels: a local page, and what becomes of the answers."""
