"""gan_jax: train generative adversarial networks in JAX, reproducibly, and use what they learned.

The public names load on first use, so that `import gan_jax` is quick.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
_HOMES = {
    "Config": "gan_jax.config",
    "InputError": "gan_jax.errors",
    "augment": "gan_jax.augmentation.report",
    "Gan": "gan_jax.gan",
    "load": "gan_jax.gan",
    "load_classifier": "gan_jax.recognition.recogniser",
    "load_config": "gan_jax.config",
    "load_exported": "gan_jax.exported.pair",
    "suggest_config": "gan_jax.search.suggestions",
    "train": "gan_jax.training",
}
__all__ = [  # noqa: F822
    "Config",
    "Gan",
    "InputError",
    "augment",
    "load",
    "load_classifier",
    "load_config",
    "load_exported",
    "suggest_config",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gan_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
