"""The bi-encoder with its optional pair head: what it is made of, where it computes, how it is kept in files."""
