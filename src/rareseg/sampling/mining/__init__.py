"""Mining: what the network finds hard becomes pools to draw from.

In go a store and the network's probabilities. Out come `MinedPools` and suspected labels. Imports
`patches`, `strategies` and `pools`.
"""
