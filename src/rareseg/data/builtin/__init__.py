"""Built-in data sets, and copies of a data set with known label faults.

In go settings with a seed. Out come folders as a user would bring them. Imports nothing that reads
a store.
"""
