"""The pictures, the examples and the report page of a run."""
