"""Score tables and component tables: what evaluation reads in place of voxels.

In go the scores and the reference of a case. Out come tables, in memory and on disk. Imports
`statistics.undefined` alone.
"""
