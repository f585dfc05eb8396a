"""The room that all others use: params, seeds, errors, files, locks, processes, similarity and ties."""
