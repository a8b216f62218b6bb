"""Generated images as training data for other models: labelled, filtered, written, scored."""
