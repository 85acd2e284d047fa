"""What `predict` leaves beside the masks: tables, a journal, pictures, files of annotation tools.

In goes what a detector says of an image; out come files below ``--out`` and lines for the terminal.
Imports `report.figures`, `prediction` and `data`.
"""
