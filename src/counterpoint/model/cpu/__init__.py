"""What makes a model fast on a CPU and changes none of its results, behind one call: `speed_up`."""
