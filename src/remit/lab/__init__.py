"""The laboratory: results of measurements and attacks."""
