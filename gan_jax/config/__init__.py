"""What a run is: typed settings, loading, overrides, validation. Imports no JAX.

`groups` has the settings, `fields` the kinds of values that they take, `settings` the run as a whole; `loading` reads
files and `overrides` sets fields by dotted name.
"""

from gan_jax.config.fields import ADA, ALPHABET, BOARDS, DIFFAUGMENT, Schedule, as_now
from gan_jax.config.groups import (
    AugmentConfig,
    DataConfig,
    EvaluationConfig,
    LogConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    PenaltyConfig,
    StepConfig,
    WatchdogConfig,
)
from gan_jax.config.loading import call_from, load_config, load_sibling, preset_names, read_json
from gan_jax.config.overrides import flat, split_overrides
from gan_jax.config.settings import Config, from_dict, to_dict

__all__ = [
    "ADA",
    "ALPHABET",
    "BOARDS",
    "DIFFAUGMENT",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "LogConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PenaltyConfig",
    "Schedule",
    "StepConfig",
    "WatchdogConfig",
    "as_now",
    "call_from",
    "flat",
    "from_dict",
    "load_config",
    "load_sibling",
    "preset_names",
    "read_json",
    "split_overrides",
    "to_dict",
]
