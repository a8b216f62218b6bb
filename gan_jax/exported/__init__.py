"""An exported pair, read back: runs where only JAX and NumPy are installed. Imports errors and latents only.

What writes it is gan_jax/exporting.py.
"""
