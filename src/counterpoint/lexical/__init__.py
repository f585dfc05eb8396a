"""Words: BM25, as a baseline and beside vectors."""
