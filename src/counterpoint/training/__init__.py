"""Training: the loop, losses, selection and checkpoints; and the trainer core that reranking uses, too."""
