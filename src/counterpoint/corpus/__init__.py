"""Readers of a corpus and the draw of its splits; of the stages only `prepare` imports this room."""
