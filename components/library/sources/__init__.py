"""Where songs and their genres come from."""
