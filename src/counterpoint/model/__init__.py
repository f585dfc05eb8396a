"""The bi-encoder with its optional pair head, its device, its hidden-state cache and its files."""
