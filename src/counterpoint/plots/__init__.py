"""What a run shows: pictures, and a page of examples."""
