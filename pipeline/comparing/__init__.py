"""Compares kinds of model on the same clips."""
