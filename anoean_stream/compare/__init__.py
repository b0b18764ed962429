"""Two models on the same records: counts, ranks, and the records of which they say different things."""
