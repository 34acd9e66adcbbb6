"""Metrics of a model, and the gate that decides whether it may be served."""
