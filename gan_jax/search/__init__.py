"""Which settings suit a set of images: searched for by training, or guessed from tables."""
