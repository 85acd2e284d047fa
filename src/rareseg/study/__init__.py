"""Studies: comparisons of strategies and searches of recipes."""
