"""The baselines, the tables of ranks, and how sure their numbers are; an edit here trains nothing."""
