"""For any daemon with the story's methods at a socket: its life in any order, its start races."""
