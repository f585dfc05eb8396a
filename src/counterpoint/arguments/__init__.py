"""The arguments after `prepare`: pairs in files, duplicate texts, the pool's columns, positives."""
