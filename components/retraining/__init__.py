"""When to train again, and the history of it."""
