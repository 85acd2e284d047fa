"""Runs: one module a command, and the set-up, jobs, scores and outputs that commands share."""
