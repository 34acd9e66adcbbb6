"""Exports of a pushed model for other runtimes, which answer samples as its signature `waveform` does."""
