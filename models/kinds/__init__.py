"""The kinds of model, one per file."""
