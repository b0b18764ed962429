"""Delivery: what was made of chunks is on the brokers before the chunks count as done."""
