"""The service that retrains as music arrives."""
