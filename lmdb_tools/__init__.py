"""Checking, mending, merging, splitting and exporting LMDBs of word images."""
