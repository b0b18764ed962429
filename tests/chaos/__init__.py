"""The fault suite: workers on real Kafka, faults by schedule, and a checker that counts every record.

``python -m tests.chaos --help``; what it proves is stated in docs/delivery.md.
"""
