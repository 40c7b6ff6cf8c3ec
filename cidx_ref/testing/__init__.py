"""The harness: what proves the promises, for this project and for others that import it."""
