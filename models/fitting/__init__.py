"""Fits a model: data, training, calibration, tuning."""
