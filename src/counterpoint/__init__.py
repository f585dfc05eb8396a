"""Counterpoint: train a bi-encoder to retrieve counter-arguments, from random to hard negatives."""
