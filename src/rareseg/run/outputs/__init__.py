"""Outputs: files that a command leaves beside a run.

In go results. Out come CSV, JSON, HTML and Markdown files. Imports `setup`.
"""
