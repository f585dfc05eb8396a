"""Reranking: the scorer seam and its kinds, the cross-encoder and its training, the weight beside distance."""
