"""Set-up of a run: options, data, recipe, split and store, before anything is computed.

In go a call's arguments. Out comes a run folder and a `PreparedRun`. Imports no other folder of
`run`.
"""
