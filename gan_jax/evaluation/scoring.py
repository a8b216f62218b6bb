"""Scores of a run's samples, or of given ones, beside those of real data. Imports gan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.config import Config, read_json
from gan_jax.data.toy import ToySource
from gan_jax.errors import InputError
from gan_jax.evaluation.judges import (
    IMAGE_METRICS,
    POINT_METRICS,
    POINT_SETS,
    POINTS,
    WORD_METRICS,
    WORD_SETS,
    AnyJudge,
    Judge,
    WordJudge,
    check_metrics,
    score_points,
)
from gan_jax.evaluation.making import judge_for, read_images
from gan_jax.gan import Gan, load
from gan_jax.metrics.text import word_scores
from gan_jax.runtime.agreement import together
from gan_jax.runtime.files import plain_folder
from gan_jax.runtime.mesh import batch_sharding, make_mesh
from gan_jax.runtime.pictures import as_data
from gan_jax.runtime.workdir import CONFIG

TRAINING_METRICS = ("fid", "prdc", "classes")  # cheap enough to follow a run


def evaluate(
    workdir: str | Path,
    *,
    images: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    num: int | None = None,
    seed: int = 0,
    checkpoint: str = "newest",
) -> dict[str, Any]:
    """Scores a trained run, or given images against the run's real data.

    Args:
        workdir: folder of the run.
        images: a folder or .npz of images to score in place of the run's own samples.
        metrics: of `IMAGE_METRICS` or `POINT_METRICS`; None = all that fit.
        num: samples; None = as config.evaluation.count says.
        seed: of the noise.
        checkpoint: newest, best or a step number.

    Returns:
        {"scores": by name, "floor": the same for real images, "features": name and digest of the feature
        network, "step": training steps of the pair, None for given images}.

    Raises:
        InputError: workdir, images, metrics or data do not fit.
    """
    config = together(lambda: read_json(plain_folder(workdir) / CONFIG))
    known = metrics_of(config)
    chosen = tuple(metrics or known)
    check_metrics(chosen, known)
    mesh = make_mesh() if jax.process_count() > 1 else None  # several processes share the work
    gan = None if images else load(workdir, checkpoint, mesh)
    judge = judge_for(config, batch_sharding(mesh) if mesh else None)
    if gan is None and not isinstance(judge, Judge):
        raise InputError(f"--images: the run in {workdir} draws no images; leave --images out")
    if isinstance(judge, WordJudge):
        assert gan is not None
        scores = score_gan(gan, judge, num or config.evaluation.count, chosen, seed)
        floor = word_scores(judge.train, judge.train, judge.held_out, judge.length)
        return {"scores": scores, "floor": floor, "features": None, "step": gan.step}
    if isinstance(judge, ToySource):
        assert gan is not None
        real = judge.read(np.arange(POINTS))["image"]
        return {"scores": score_gan(gan, judge, POINTS, chosen, seed), "floor": score_points(real, judge),
                "features": None, "step": gan.step}  # fmt: skip
    count = min(num or config.evaluation.count, len(judge.train))
    if gan is None:
        given = together(lambda: read_images(Path(str(images)), config.data)[:num])
        scores = judge.scores(given, chosen)
    else:
        scores = score_gan(gan, judge, num or config.evaluation.count, chosen, seed)
    return {
        "scores": scores,
        "floor": judge.floor(chosen, min(count, int(scores["count"]))),
        "features": {"name": judge.network.name, "digest": judge.network.digest},
        "step": gan and gan.step,
    }


def score_gan(
    gan: Gan, judge: AnyJudge, count: int, metrics: Sequence[str] | None = None, seed: int = 0
) -> dict[str, float]:
    """Scores of fresh samples of a pair.

    Args:
        gan: the pair.
        judge: what samples are compared with, see `judge_for`.
        count: samples; toy sets take 2,500, as PacGAN does.
        metrics: None = all that fit the data.
        seed: of the noise.

    Raises:
        InputError: a metric that is unknown or does not fit the data.
    """
    key = jax.random.key(seed)
    if isinstance(judge, ToySource):
        check_metrics(metrics or POINT_METRICS, POINT_METRICS)
        return score_points(np.asarray(gan.sample(key, POINTS)), judge)
    if isinstance(judge, WordJudge):
        check_metrics(metrics or WORD_METRICS, WORD_METRICS)
        return judge.scores(np.asarray(gan.sample(key, count)))
    return judge.scores(as_data(np.asarray(gan.sample(key, count))), metrics or IMAGE_METRICS)


def metrics_of(config: Config) -> tuple[str, ...]:
    """Metrics that fit a run's data."""
    if config.data.source in POINT_SETS:
        return POINT_METRICS
    return WORD_METRICS if config.data.source in WORD_SETS else IMAGE_METRICS


def following(config: Config) -> tuple[str, ...]:
    """Those that follow a run: cheap ones."""
    known = metrics_of(config)
    return TRAINING_METRICS if known == IMAGE_METRICS else known


def table(result: dict[str, Any]) -> str:
    """Scores beside their floor, one line a metric."""
    scores, floor = result["scores"], result["floor"]
    network = result["features"]
    lines = [f"{'':18}{'score':>12}{'real data':>12}"]
    for name, value in scores.items():
        real = f"{floor[name]:12.4g}" if name in floor else f"{'':12}"
        lines.append(f"{name:18}{value:12.4g}{real}")
    if network:
        lines.append(f"features: {network['name']} {network['digest'][:12]}")
    return "\n".join(lines)
