"""For any threaded Python: a scheduler, explorers of interleavings, and a judge of histories."""
