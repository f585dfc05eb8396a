"""The method: the decaying random rate, and every epoch's draw of negatives."""
