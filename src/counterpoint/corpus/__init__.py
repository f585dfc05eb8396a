"""From a corpus to pairs in three splits; `prepare` alone opens this room."""
