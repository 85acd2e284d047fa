"""Training jobs: one network, two stages, and the scaling of their image scores.

In goes a prepared run. Out come models. Imports `setup` and `scores`.
"""
