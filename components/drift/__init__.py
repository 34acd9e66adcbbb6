"""Tests whether the newest clips still look like those that the champion was measured on."""
