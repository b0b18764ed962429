"""What to do when records come faster than they can be scored: wait (default), or sample and say so."""
