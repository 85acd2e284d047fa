"""Wording: numbers, tables and sentences as people read them.

In go results. Out come strings; nothing reads them back. Imports `report_content` alone.
"""
