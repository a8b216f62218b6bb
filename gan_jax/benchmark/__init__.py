"""Seeded comparisons whose figures are committed. Run as `python -m gan_jax.benchmark SUITE`; never imported."""
