"""Intervals over independent groups, and what is undefined.

In go one value a case or group. Out come estimates with intervals. Imports nothing of the
package.
"""
