"""Which model a worker serves, how it comes to be exchanged, and what is told of it."""
