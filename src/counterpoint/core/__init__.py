"""What every room uses: params, seeds, errors, files, locks, and the process a stage runs in."""
