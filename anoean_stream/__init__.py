"""Anoean: a streaming anomaly detector on Kafka."""

__version__ = "0.1.0"
