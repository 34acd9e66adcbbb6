"""The model store: versions, the served one, its smoke test, prediction."""
