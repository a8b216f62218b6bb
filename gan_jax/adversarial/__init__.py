"""The mathematics of the game, on arrays and pure functions only."""
