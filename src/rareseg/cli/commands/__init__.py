"""Commands: one module for each, or for a few that belong together.

In go options. Out come lines, JSON and an exit code. Imports `options`; what does the work is
imported within each command, so that `--help` stays quick.
"""
