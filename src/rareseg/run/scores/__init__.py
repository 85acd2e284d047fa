"""Score sources: a run's model or another tool's files, behind one protocol.

In go cases. Out come score tables and results at points. Imports `setup` and `outputs`.
"""
