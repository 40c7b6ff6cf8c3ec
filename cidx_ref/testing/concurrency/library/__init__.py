"""The blocking parts of the standard library, under a scheduler's orders: see `instrument`."""
