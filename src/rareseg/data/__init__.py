"""Data: files and formats, data sets, checks, splits and the store."""
