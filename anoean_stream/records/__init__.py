"""What comes in and what goes out: chunks of raw records, their decoders, alerts and dead letters."""
