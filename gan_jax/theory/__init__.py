"""The theory of the game, made runnable: pure functions over our own losses and penalties."""
