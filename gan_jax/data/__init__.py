"""Real examples: where they come from (`sources`) and in which order they reach the devices (`pipeline`)."""
