"""From an audio file to what a model sees of it."""
