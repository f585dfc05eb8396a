"""Tables of ranks, the metrics and intervals computed from them, and the baseline BM25."""
