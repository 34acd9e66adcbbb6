"""Songs that are there twice: to the bit, or to the ear."""
