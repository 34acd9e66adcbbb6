"""The tags of songs: read for an ingest, and written with predicted genres."""
