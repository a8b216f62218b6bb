"""Looks at a run's numbers and says when it is ruined. Decides only; imports the config.

All numbers come out of the compiled step and are the same on every process, so all processes decide alike. What the
watchdog remembers is how many looks in a row were bad. The run saves nothing while that is above 0 (`healthy`), so a
run that is killed and resumed comes to the same decisions as one that was not.
"""

import dataclasses
import math
from collections.abc import Mapping

from gan_jax.config import Config, WatchdogConfig

_OVERFIT_LOOKS = 20  # looks in a row that a warning of overfitting takes; single batches are noisy
_VANISHED = 1e-8  # of G's gradient: Adam's usual eps, below which its updates vanish
_CONSTANT = 1e-6  # spread of logits, relative to 1 + their size: rounding

Values = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Alarm:
    """What went wrong.

    Attributes:
        quantity: the number's name, as in metrics.jsonl.
        text: what it is and what it should be.
        advice: what to try.
        trusted: the last step that the fault cannot have reached; negative if there is none.
        ruinous: whether the run must go back; else it is only warned.
    """

    quantity: str
    text: str
    advice: str
    trusted: int
    ruinous: bool = True


class Watchdog:
    """Counts bad looks in a row.

    Attributes:
        healthy: whether a state may be saved: neither the last look nor one that still counts found it ruinous.
    """

    def __init__(self, config: Config) -> None:
        """Starts with a clean record.

        Args:
            config: of the run.
        """
        self._config, self._settings = config, config.watchdog
        self.reset()

    def reset(self) -> None:
        """Forgets all looks: the run has gone back."""
        self._since: dict[str, int] = {}  # first bad look in a row, by quantity
        self._bad: dict[str, int] = {}  # bad looks in a row, by quantity
        self.healthy = True

    def due(self, before: int, after: int) -> bool:
        """Whether a look is due between two steps."""
        every = self._settings.interval
        return self._settings.enabled and after // every > before // every

    def look(self, step: int, values: Values, *, due: bool = True, last: bool = False) -> Alarm | None:
        """Judges the numbers of a step.

        Args:
            step: steps done.
            values: metrics of the step.
            due: whether the look counts; if not, it only says whether the state is `healthy`.
            last: whether the run ends here, so that one bad look is enough.

        Returns:
            An alarm if the run must go back, or, once in a row of looks, a warning; else None.
        """
        if not self._settings.enabled:
            return None
        values = {name: float(value) for name, value in values.items()}
        ruinous = _not_finite(values)
        warned: dict[str, str] = {}
        if not ruinous and step > self._settings.warmup:
            ruinous, warned = _ruinous(self._config, values), _overfitting(self._settings, values)
        if due or last:
            self._count(step, (*_ADVICE,), ruinous | warned)
        self.healthy = not ruinous and not self._bad.keys() & _RUINOUS
        if not (due or last):
            return None
        for name, text in ruinous.items():
            if last or name == "finite" or self._bad[name] >= self._settings.looks:
                # A fault needs a few looks to show, so the state was trustworthy only some time before.
                trusted = self._since[name] - 2 * self._settings.looks * self._settings.interval
                return Alarm(name, text, _ADVICE[name], trusted)
        for name, text in warned.items():
            if self._bad[name] == _OVERFIT_LOOKS:
                return Alarm(name, text, _ADVICE[name], step, ruinous=False)
        return None

    def look_at_scores(self, step: int, scores: Values, classes: int) -> Alarm | None:
        """Judges the scores of samples.

        Args:
            step: steps done.
            scores: with "class_share_min", percent, if the samples were classified.
            classes: of the data.

        Returns:
            A warning if a class has been almost absent `looks` times in a row, else None.
        """
        name = "class_share_min"
        if not self._settings.enabled or name not in scores or step <= self._settings.warmup:
            return None
        limit = self._settings.class_share * 100 / max(classes, 1)
        text = f"the rarest class has {scores[name]:.3g} % of the samples, less than {limit:.3g} %"
        self._count(step, (name,), {name: text} if scores[name] < limit else {})
        if self._bad.get(name) == self._settings.looks:
            return Alarm(name, text, _CLASS_ADVICE, step, ruinous=False)
        return None

    def _count(self, step: int, names: tuple[str, ...], found: Mapping[str, str]) -> None:
        """Bad looks in a row of each of the names, of which `found` are bad at this step."""
        for name in names:
            if name in found:
                self._bad[name] = self._bad.get(name, 0) + 1
                self._since.setdefault(name, step)
            else:
                self._bad.pop(name, None)
                self._since.pop(name, None)


def _not_finite(values: Values) -> dict[str, str]:
    """Parameters, losses and gradients under one name, since one makes the others so within a step."""
    lost = [name for name, value in values.items() if not math.isfinite(value)]
    if not values["finite"]:
        lost.append("parameters")
    return {"finite": f"not finite: {', '.join(lost)}"} if lost else {}


def _ruinous(config: Config, values: Values) -> dict[str, str]:
    """What a run does not come back from by itself, by quantity."""
    found, limits = {}, config.watchdog
    diversity, real = values["diversity"], values["real_diversity"]
    if diversity < limits.diversity * real:
        found["diversity"] = (
            f"a generated batch varies by {diversity:.3g}, below {limits.diversity:g} x {real:.3g} of real"
        )
    if values["logit_spread"] <= _CONSTANT * (1 + abs(values["real_logit"])):
        found["logit_spread"] = f"the discriminator says {values['real_logit']:.3g} of every image"
    if values["g_gradient"] <= (vanished := min(_VANISHED, config.optimizer.eps)):
        found["g_gradient"] = f"the generator's gradient is {values['g_gradient']:.3g}, no more than {vanished:g}"
    if values["d_loss"] > limits.d_loss:
        found["d_loss"] = f"the discriminator's loss is {values['d_loss']:.3g}, above {limits.d_loss:g}"
    return found


def _overfitting(limits: WatchdogConfig, values: Values) -> dict[str, str]:
    if values["separation"] < limits.separation:
        return {}
    return {
        "separation": f"the discriminator tells real from generated: mean sign {values['separation']:.3g} over pairs"
    }


_CALMER = "try smaller learning rates (config.optimizer.g_lr, d_lr) or a larger config.penalty.r1"
_ADVICE = {
    "finite": f"{_CALMER}, and look for values that are not finite in float data",
    "diversity": "try config.loss.name=relativistic with config.penalty.r1 and r2, or a smaller config.optimizer.g_lr",
    "logit_spread": "try a smaller config.optimizer.d_lr or penalty, and a loss in which the two players differ",
    "g_gradient": "try config.loss.name=nonsaturating or relativistic, and a larger config.penalty.r1",
    "d_loss": _CALMER,
    "separation": "try a larger config.penalty.r1, a narrower config.model.d_width, or more data",
}
_RUINOUS = _ADVICE.keys() - {"separation"}
_CLASS_ADVICE = "try config.loss.name=relativistic with config.penalty.r1 and r2, or config.model.conditional=true"
