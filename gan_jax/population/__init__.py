"""Many GANs in one compiled step, each as if it were alone."""
