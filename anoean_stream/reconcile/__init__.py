"""Does it add up? Input, commits, alerts, dead letters and counters, held against each other.

Pure: knows neither Kafka nor the clock. ``anoean verify`` reads the topics and hands over what it
sees.
"""
