"""What the worker tells about itself: metrics, health, logs. Imports no other room but settings."""
