"""Data sets of songs and their genres: one file per form."""
