"""Evaluation: score tables, metrics, measures, intervals and comparisons."""
