"""Runs benchmarks and reports them."""
