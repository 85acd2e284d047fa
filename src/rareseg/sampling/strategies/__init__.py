"""Strategies: a name and its settings in, shares over pools out.

In go pools and the recipe's section `sampling`. Out comes a `Mixture` for each phase of a run.
Imports `pools`.
"""
