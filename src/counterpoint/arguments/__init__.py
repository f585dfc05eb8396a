"""Arguments as everyone after `prepare` sees them: pairs in files, what counts as the same text, the pool's columns."""
