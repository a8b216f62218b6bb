"""The PyTorch twins take the same step as ours, in every variant that is timed."""

import pytest
import torch

from gan_jax.benchmark.contests import CONTESTS, Contest, examples_of, fresh
from gan_jax.benchmark.suites.throughput import agree
from gan_jax.benchmark.torch_twins import LOSSES, Twin, Variant, images_for

pytestmark = pytest.mark.peers
SMALL = {
    "dcgan28": {"model.g_width": 8, "model.d_width": 8, "data.batch_size": 4},
    "dcgan64": {"data.batch_size": 4},
    "sngan32": {"model.g_width": 8, "model.d_width": 8, "data.batch_size": 4},
    "r3gan": {"model.g_width": 16, "model.d_width": 16, "model.blocks": 1, "data.batch_size": 4},
    "ring": {"model.g_width": 16, "model.d_width": 16},
}


def small(name: str) -> Contest:
    whole = CONTESTS[name]
    return Contest(whole.text, lambda: whole.config().replace(SMALL[name]), whole.shape, whole.examples)


@pytest.mark.parametrize("name", SMALL)
def test_losses_and_changes_of_weights_are_the_same(name):
    found = agree(small(name), seed=1, by_kinks=0)  # raises beyond these; small nets need no more
    assert 0 <= found["losses"] < 1e-4 and max(found["gradients"], found["weights"]) < 2e-3


def test_another_loss_is_noticed(monkeypatch):
    d_loss, g_loss = LOSSES["relativistic"]
    monkeypatch.setitem(LOSSES, "relativistic", (lambda real, fake: 1.1 * d_loss(real, fake), g_loss))
    with pytest.raises(RuntimeError, match="more than rounding"):
        agree(small("ring"), seed=1)


@pytest.mark.parametrize("variant", [Variant(channels_last=True), Variant(fused=False)], ids=lambda one: one.text)
def test_variants_take_the_same_step(variant):
    program = small("r3gan").program()
    state, images = fresh(program, 0), examples_of(program, 0)
    batch = [images_for(part) for part in images]
    noise = [torch.randn(4, program.config.model.latent_size) for _ in range(2)]
    losses = [torch.stack(Twin(program, state, one).step(batch, noise)) for one in (Variant(), variant)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
