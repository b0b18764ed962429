"""What several test folders share: brokers, generators, waiting on conditions."""
