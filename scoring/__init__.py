"""Scores that can be trusted: statistics of what was read, comparisons, tables, an HTML page."""
