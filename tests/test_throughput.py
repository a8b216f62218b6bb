"""Suite `throughput` without PyTorch: turns, FLOPs by the layer formula, our arms, and what is refused."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from gan_jax.benchmark import running
from gan_jax.benchmark.contests import CONTESTS, Contest, pacgan_ring
from gan_jax.benchmark.flops import step_flops
from gan_jax.benchmark.layer_times import time_layers
from gan_jax.benchmark.population_times import time_members
from gan_jax.benchmark.rounds import alternate, ratio
from gan_jax.benchmark.step_profile import operation_shares, owner, publish
from gan_jax.benchmark.suites import throughput
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.runtime.cores import usable_cores


def test_sides_take_turns_and_the_first_call_of_a_block_does_not_count():
    log, waits = [], {"a": [0, 0.2, 0, 0, 0], "b": [0] * 5}  # the first call of a's first block is slow

    def side(name):
        def call():
            log.append(name)
            time.sleep(waits[name].pop(0))

        return call

    seconds = alternate({"a": side("a"), "b": side("b")}, rounds=2, block_seconds=0.0)
    assert "".join(log) == "ab" + "aabb" * 2
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    assert max(seconds["a"]) < 0.2
    assert ratio([2.0, 8.0, 3.0], [1.0, 2.0, 3.0]) == 2.0  # of pairs, not of medians


def test_flops_are_those_of_the_layer_formula():
    g = [2 * 100 * 7 * 7 * 256, *(2 * 25 * n for n in (49 * 256 * 128, 49 * 128 * 64, 14 * 14 * 64))]
    d = [2 * 25 * n for n in (14 * 14 * 64, 49 * 64 * 128)] + [2 * 49 * 128]
    plain = 3 * sum(g) - g[0] + 2 * (3 * sum(d) - d[0]) + 2 * sum(d)
    assert step_flops(CONTESTS["dcgan28"].program()) == 64 * plain
    penalised = CONTESTS["dcgan28"].program({"penalty.r1": 1.0, "penalty.r2": 1.0})
    assert step_flops(penalised) == 64 * (plain + 2 * 3 * sum(d))
    d = [2 * n for n in (2 * 200, 200 * 200, 200)]
    g = [2 * n for n in (2 * 400, 400 * 400, 400 * 2)]
    ring = 3 * sum(g) - g[0] + 2 * (6 * sum(d) - d[0]) + 3 * sum(d)
    assert step_flops(CONTESTS["ring"].program()) == 100 * ring
    with pytest.raises(ValueError, match="WGAN-GP"):
        step_flops(CONTESTS["dcgan28"].program({"penalty.wgan_gp": 10.0}))


def tiny(architecture: str, changes=()) -> Contest:
    widths = {"model.g_width": 8, "model.d_width": 8, "data.batch_size": 8, "model.latent_size": 4}
    widths |= {"model.blocks": 1, "step.per_dispatch": 1} if architecture == "mlp" else {}
    config = Config().replace({"model.architecture": architecture} | widths | dict(changes))
    return Contest("for a test", lambda: config, (8, 8, 1))


def test_penalties_and_layers_are_measured():
    protocol = throughput.Protocol(rounds=1, block_seconds=0.0, contests={"tiny": tiny("mlp")}, penalised="tiny")
    metrics = throughput.weigh_penalties(protocol, 0).metrics
    assert {"r1_factor", "r1r2_factor", "wgan_gp_factor", "ms_none"} <= set(metrics)
    assert all(np.isfinite(value) and value > 0 for value in metrics.values())
    found = time_layers(tiny("dcgan").program(), 1, 0.0)
    maps = ("forward", "input_gradient", "weight_gradient")
    for layer in ("g_conv", "g_image", "d_conv_1"):
        assert all(found[f"{layer}_{kind}_ms_{form}"] > 0 for kind in maps for form in ("xla", "transformed"))


def test_a_step_is_split_by_layers():
    shares = operation_shares(tiny("dcgan").program(), 0)
    assert {"g_conv_percent", "d_conv_1_percent", "update_percent"} <= set(shares)
    assert shares["traced_ms"] > 0
    assert np.isclose(sum(value for name, value in shares.items() if name.endswith("_percent")), 100)
    assert owner('fusion(x), metadata={op_name="jit(step)/transpose(jvp(Generator))/up_1/cond/dot"}') == "g_up_1"
    assert owner('fusion(x), metadata={op_name="jit(step)/jvp(Discriminator)/jit(relu)/max"}') == "d_other"
    assert owner('add(x, y), metadata={op_name="jit(step)/add"}') == "update"
    assert owner("copy(x)") == "other"


def test_the_page_shows_where_time_goes(tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "performance.md"
    page.write_text("above\n<!-- operations -->\nold\n<!-- end -->\nbelow\n")
    metrics = {"g_conv_percent": 60.0, "d_out_percent": 0.5, "update_percent": 39.5, "traced_ms": 1.0}
    publish({"records": [{"arm": "profile_tiny", "metrics": metrics}]}, tmp_path / "benchmarks")
    text = page.read_text()
    assert "old" not in text and text.startswith("above") and text.endswith("below\n")
    assert "| tiny | g_conv | 60.0 |" in text and "| tiny | all others | 0.5 |" in text and "d_out" not in text


def test_data_path_is_measured():
    config = tiny("mlp", {"data.image_size": 8}).config()
    metrics = running.pipelines(config, 20, 0.05, 1).metrics
    assert metrics["resident_over_step"] == metrics["images_per_s_resident"] / metrics["images_per_s_step"] > 1
    assert metrics["images_per_s_png64"] > 0


def test_members_are_timed_where_cores_are_devices(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # the tests' own number of devices
    small = {"model.g_width": 8, "model.d_width": 8, "data.batch_size": 8, "step.per_dispatch": 1}
    metrics = time_members({"net": pacgan_ring().replace(small)}, 0, 1, 0.0)
    assert metrics["population_devices"] == usable_cores()
    assert metrics["population8_factor_net"] > 0 and metrics["population8_speedup_net"] > 0
    assert metrics["population8_together_net"] == 1  # so small that the library takes them side by side


def test_cores_are_devices_unless_a_number_of_devices_is_given():
    code = "from gan_jax.runtime.cores import split_cores; split_cores(); import jax; print(len(jax.devices()))"

    def devices(flags: str) -> int:
        environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        return int(
            subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True).stdout
        )

    assert devices("") == usable_cores()
    assert devices("--xla_force_host_platform_device_count=3") == 3


def test_a_start_that_fails_is_an_error(root):
    with pytest.raises(InputError, match="no_such_config.py: no such file"):
        running.start_up("no_such_config", 1)


def test_suite_needs_torch_and_says_so(monkeypatch):
    monkeypatch.setattr(throughput.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="peers"):
        throughput.SUITE.arms["ring"].run(0)
    wanted = {"dcgan28", "dcgan64", "sngan32", "r3gan", "ring", "penalties", "startup", "pipeline", "population"}
    assert wanted <= set(throughput.SUITE.arms)
