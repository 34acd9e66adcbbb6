"""The model store: versions, what is served, smoke test, prediction."""
