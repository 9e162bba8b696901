"""From measurements to a bundle: data sets, splits, reports, tracking, and one pipeline per task.

RESULTS.md has what came of it.
"""
