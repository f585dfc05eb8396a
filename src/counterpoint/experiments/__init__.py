"""Many runs: sweeps, comparisons, reports; no stage opens this room."""
