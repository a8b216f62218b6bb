"""Eight virtual CPU devices, and one compile cache for all workers and sessions."""

import os
import pathlib
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import pytest

# XLA aborts a process whose devices wait 40 s for one another, which eight on a busy core may do.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_collective_call_terminate_timeout_seconds=800"
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts with "&"
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

ROOT = pathlib.Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Compiled programs outlive the session: a second run starts warm, and workers share them."""
    kept = config.pluginmanager.hasplugin("cacheprovider")  # not with -p no:cacheprovider
    cache = str(config.cache.mkdir("xla") if kept else tempfile.mkdtemp(prefix="gan_jax_xla_"))
    settings = {
        "jax_compilation_cache_dir": cache,
        "jax_persistent_cache_min_compile_time_secs": 0.3,
        # With a limit JAX locks the files: else a worker may read one that another has half written.
        "jax_compilation_cache_max_size": 4 * 2**30,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the commands that tests start
    os.environ["GAN_JAX_CACHE"] = cache


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The workdir of a finished class-conditional run on digits, for tests that only read it."""
    from tiny import tiny_config

    import gan_jax

    workdir = tmp_path_factory.mktemp("small") / "run"
    digits = {"data.source": "digits", "data.image_size": 8, "data.channels": 1}  # and dense, to compile in seconds
    often = {"log.samples_images": 48, "log.metrics_images": 32}
    gan_jax.train(tiny_config("mlp", digits | often | {"model.conditional": True}), workdir, jax.devices()[:1])
    return workdir


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser: Debian's, for tests with the marker `browser`."""
    from playwright.sync_api import sync_playwright

    flags = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
    more = ("disable-component-update", "disable-sync")
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path="/usr/bin/chromium", headless=True, args=[f"--{flag}" for flag in (*flags, *more)]
        )
        yield browser
        browser.close()
