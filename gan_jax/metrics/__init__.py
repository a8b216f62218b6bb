"""How good generated data is: distances, manifolds, modes, memorisation, and the features they are measured in.

Imports gan_jax.errors and nothing else of the package: arrays come in as arguments.
"""
