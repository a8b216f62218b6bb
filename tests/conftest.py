"""Eight virtual CPU devices and one compile cache for the whole session."""

import os
import pathlib
import tempfile

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

ROOT = pathlib.Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Compiled programs outlive the session: a second run starts warm."""
    kept = config.pluginmanager.hasplugin("cacheprovider")  # not with -p no:cacheprovider
    cache = str(config.cache.mkdir("xla") if kept else tempfile.mkdtemp(prefix="gan_jax_xla_"))
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    # For the commands that tests start.
    os.environ["GAN_JAX_CACHE"] = os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The checkout."""
    return ROOT
