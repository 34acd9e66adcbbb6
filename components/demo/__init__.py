"""A small library of composed songs."""
