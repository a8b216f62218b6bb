"""A trained pair as files that run without this package's training code. Imports gan, exported and runtime."""

import datetime
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

import gan_jax
from gan_jax.config import to_dict
from gan_jax.errors import InputError
from gan_jax.exported.pair import CARD, DISCRIMINATOR, FORMAT, GENERATOR, PROGRAM, WEIGHTS
from gan_jax.gan import Gan, load
from gan_jax.models.conv import same_for_any_batch
from gan_jax.runtime.files import write_atomically, writing

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
USUAL_PLATFORMS = ("cpu", "cuda", "tpu")


def export(
    workdir: str | Path,
    out: str | Path,
    checkpoint: str = "newest",
    platforms: Sequence[str] = USUAL_PLATFORMS,
) -> dict[str, Any]:
    """Writes the averaged generator and the discriminator of a run into a folder for `gan_jax.load_exported`.

    Args:
        workdir: folder of the run.
        out: folder to write; made if missing.
        checkpoint: "newest", "best" or a step number as text.
        platforms: of `PLATFORMS`; one program serves all of them, and none needs to be present.

    Returns:
        The card, as written to card.json.

    Raises:
        InputError: no such run or platform, a package is missing, or the folder cannot be written.
    """
    if unknown := [name for name in platforms if name not in PLATFORMS]:
        raise InputError(f"--platforms={','.join(unknown)}: unknown; choose of {', '.join(PLATFORMS)}")
    if not platforms:
        raise InputError("--platforms is empty: leave it out for cpu, cuda and tpu")
    try:
        import flatbuffers  # noqa: F401  JAX writes programs with it
        from safetensors.numpy import save
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'gan-jax[export]'") from None
    gan, out = load(workdir, checkpoint), Path(out)
    networks = {GENERATOR: _generator(gan, platforms)}
    if gan.config.model.pack == 1:  # else it judges packs and has no features of an image
        networks[DISCRIMINATOR] = _discriminator(gan, platforms)
    files: dict[str, bytes] = {}
    for name, (program, weights) in networks.items():
        files[name + PROGRAM] = program
        files[name + WEIGHTS] = save(weights)
    card = _card(gan, Path(workdir), list(networks), platforms, files)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    (out / CARD).unlink(missing_ok=True)  # no card, no export: a folder half written is noticed
    for name, content in files.items():
        write_atomically(out / name, content)
    write_atomically(out / CARD, json.dumps(card, indent=2).encode() + b"\n")
    return card


def summary(card: dict[str, Any], out: Path) -> str:
    """Says what was written and how to use it."""
    shape = " x ".join(map(str, card["shape"]))
    return (
        f"{out}: {', '.join(card['networks'])} at step {card['step']:,}, {shape}, for {', '.join(card['platforms'])}\n"
        f'use it: gan_jax.load_exported("{out}").sample(jax.random.key(0), 64)   # needs JAX and NumPy only'
    )


def _generator(gan: Gan, platforms: Sequence[str]) -> tuple[bytes, dict[str, np.ndarray]]:
    module, conditional = gan.program.g, gan.config.model.conditional

    def run(variables: Any, z: jax.Array, labels: jax.Array) -> Any:
        return module.apply(variables, z, labels if conditional else None, train=False)

    return _network(
        run, {"params": gan.ema.params, "batch_stats": gan.ema.stats}, (gan.config.model.latent_size,), platforms
    )


def _discriminator(gan: Gan, platforms: Sequence[str]) -> tuple[bytes, dict[str, np.ndarray]]:
    module, conditional = gan.program.d, gan.config.model.conditional

    def run(variables: Any, images: jax.Array, labels: jax.Array) -> Any:
        logits, named = module.apply(variables, images, labels if conditional else None, train=False)
        return {**named, "logits": logits}

    return _network(run, {"params": gan.d.params, "batch_stats": gan.d.stats}, gan.shape, platforms)


def _network(
    run: Callable[..., Any], variables: Any, shape: tuple[int, ...], platforms: Sequence[str]
) -> tuple[bytes, dict[str, np.ndarray]]:
    """The serialized program of `run` for any batch, and its weights by name."""
    from jax import export as jax_export

    weights = {name: np.asarray(leaf) for name, leaf in flatten_dict(variables, sep="/").items()}

    def flat(weights: dict[str, jax.Array], inputs: jax.Array, labels: jax.Array) -> Any:
        with same_for_any_batch():  # as in `Program.generate`
            return run({"batch_stats": {}, **unflatten_dict(weights, sep="/")}, inputs, labels)

    (batch,) = jax_export.symbolic_shape("batch")
    arguments = (
        {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in weights.items()},
        jax.ShapeDtypeStruct((batch, *shape), jnp.float32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    return bytes(jax_export.export(jax.jit(flat), platforms=platforms)(*arguments).serialize()), weights


def _card(
    gan: Gan, workdir: Path, networks: list[str], platforms: Sequence[str], files: dict[str, bytes]
) -> dict[str, Any]:
    """What a reader of the folder needs to know."""
    scores = workdir / "scores.json"
    return {
        "format": FORMAT,
        "networks": networks,
        "shape": list(gan.shape),
        "values": "float32 in [-1, 1]" if len(gan.shape) > 1 else "float32, as the data",
        "latent_size": gan.config.model.latent_size,
        "latents": "standard normal",
        "generator_classes": gan.program.num_classes if gan.config.model.conditional else 0,
        "class_names": list(gan.class_names),
        "step": gan.step,
        "images_seen": gan.step * gan.config.images_per_step,
        "weights": "generator: exponential moving average; discriminator: last step",
        "parameters": {"generator": _size(gan.ema.params), "discriminator": _size(gan.d.params)},
        "platforms": list(platforms),
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")}
        | {"gan_jax": gan_jax.__version__},
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "scores": json.loads(scores.read_text()) if scores.is_file() else None,
        "config": to_dict(gan.config),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
