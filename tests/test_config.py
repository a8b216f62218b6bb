"""Loading, overriding and refusing configs."""

import json
import pathlib

import pytest

from gan_jax.config import Config, from_dict, load_config, read_json, to_dict
from gan_jax.errors import InputError

CONFIGS = sorted((pathlib.Path(__file__).parent.parent / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_loads_and_survives_json(path: pathlib.Path) -> None:
    config = load_config(path)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_overrides_reach_every_kind_of_field() -> None:
    overrides = {
        "seed": "7",
        "data.image_size": "48,64",
        "data.path": "photos",
        "data.channels": "3",
        "model.conditional": "true",
        "optimizer.g_lr": "3e-4",
        "penalty.r1.start": "0.2",
        "penalty.r1.end": "0.1",
        "penalty.r1.shape": "linear",
        "loss.name": "hinge",
    }
    config = load_config(CONFIGS[0].with_name("digits.py"), [f"{name}={value}" for name, value in overrides.items()])
    assert config.seed == 7 and config.data.image_size == (48, 64) and config.data.path == "photos"
    assert config.data.channels == 3
    assert config.model.conditional is True and config.loss.name == "hinge"
    assert (config.optimizer.g_lr.start, config.optimizer.g_lr.end) == (3e-4, None)  # a bare number is constant
    assert (config.penalty.r1.start, config.penalty.r1.end, config.penalty.r1.shape) == (0.2, 0.1, "linear")
    assert config.replace({"penalty.r1.end": "none"}).penalty.r1.end is None


def test_one_number_is_a_square() -> None:
    assert Config().replace({"data.image_size": "32"}).data.image_size == (32, 32)
    assert Config().replace({"data.image_size": 32}).data.image_size == (32, 32)


BAD = {
    "data.batch_sze=3": "did you mean batch_size",
    "batch_size=3": "unknown field",
    "data.batch_size.x=3": "unknown field",
    "data=3": "is a group",
    "data.batch_size=-3": "greater than or equal to 1",
    "data.batch_size=0": "greater than or equal to 1",
    "data.batch_size=3.5": "valid integer",
    "data.batch_size=many": "valid integer",
    "data.batch_size=": "valid integer",
    "data.image_size=1,2,3": "image_size",
    "data.image_size=-28": "greater than or equal to 1",
    "data.image_size=a,b": "valid integer",
    "data.channels=2": "1 or 3",
    "data.channels=rgb": "1 or 3",
    "data.source=imagenet": "source must be one of",
    "data.source=tfds:": "source must be one of",
    "seed=-1": "greater than or equal to 0",
    "seed=none": "valid integer",
    "model.architecture=vit": "'mlp'",
    "model.dropout=1.0": "less than 1",
    "model.conditional=perhaps": "valid boolean",
    "model.dtype=float16": "float32",
    "loss.name=hing": "hinge",
    "penalty.r1=-1": "greater than or equal to 0",
    "penalty.interval=0": "greater than or equal to 1",
    "optimizer.g_lr=fast": "valid number",
    "optimizer.g_lr=nan": "finite",
    "optimizer.beta2=1.0": "beta2 must stay below 1",
    "optimizer.g_lr.shape=step": "cosine",
    "augment.p.shape=geometric": "both must be above 0",
    "model.latent_signs=1000": "at most latent_size",
    "model.latent_direct=64": "below latent_size",
    "step.accumulate=5": "divisible",
    "total_images=1": "less than one step",
    "ema_half_life=inf": "finite",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_override_is_one_line_that_names_the_field(override: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(CONFIGS[0].with_name("digits.py"), [override])
    message = str(caught.value)
    assert "\n" not in message and BAD[override] in message
    assert override.split("=")[0].split(".")[-1] in message or "unknown field" in message or "config" in message


def test_an_override_needs_a_value() -> None:
    with pytest.raises(InputError, match="give a value"):
        load_config(CONFIGS[0], ["seed"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("x = 1", r"defines no get_config\(\)"),
        ("def get_config(): return {}", "must return"),
        ("def get_config(): return 1 / 0", "ZeroDivisionError"),
        ("from gan_jax import Config\ndef get_config(): return Config().replace({'sed': 1})", "did you mean seed"),
    ],
)
def test_bad_config_file_is_one_line(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_missing_config_and_wrong_suffix(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "none.py")
    (tmp_path / "config.yaml").write_text("seed: 1")
    with pytest.raises(InputError, match="ends in .py"):
        load_config(tmp_path / "config.yaml")


def test_read_json_names_what_is_wrong(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        read_json(tmp_path / "config.json")
    for text, message in (("{", "cannot be read"), ("[]", "no config"), ('{"sed": 1}', "sed")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_json(tmp_path / "config.json")


def test_steps_reach_the_last_image() -> None:
    config = Config().replace({"total_images": 1000, "data.batch_size": 64, "step.critic_steps": 2})
    assert config.images_per_step == 128
    assert config.total_steps * config.images_per_step >= 1000 > (config.total_steps - 1) * config.images_per_step


def test_built_in_configs_go_by_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # as in an installed package: no configs/ here
    for path in CONFIGS:
        assert load_config(path.stem) == load_config(path)
    assert load_config("digits", ["seed=7"]).seed == 7
    (tmp_path / "digits").mkdir()
    assert load_config("digits") == load_config(CONFIGS[0].with_name("digits.py"))
    for given, hint in {"digts": "did you mean --config=digits?", "configs/digits.py": "did you mean --config=digits?",
                        "nothing_like_it": "built-in are article, cifar10,"}.items():  # fmt: skip
        with pytest.raises(InputError, match=f"{given}: no such file") as error:
            load_config(given)
        assert hint in str(error.value)
