"""How the second step is trained: lists of candidates from the retriever, a reader that learns to tell the right one."""
