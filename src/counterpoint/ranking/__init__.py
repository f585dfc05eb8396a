"""Candidate sets of queries, their order by distance, and measures of that order."""
