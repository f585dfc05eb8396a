"""Using a trained model: searching arguments, asking for counters."""
