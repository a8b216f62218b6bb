"""How far a run is, on stderr: a bar on a terminal, now and then a line elsewhere. Imports nothing of ours."""

import datetime
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from tqdm import tqdm

_EVERY = 30.0  # seconds between plain lines
_SHOWN = ("d_loss", "g_loss", "fid", "coverage", "modes", "high_quality")  # a line has room for few


class Progress:
    """Images seen, images a second and time left.

    The clock starts at the first `update`, so that compiling, which comes before it, is not taken for slowness.

    Args:
        total: images of the whole run.
        file: where to write; None = stderr at this moment.
    """

    def __init__(self, total: int, file: TextIO | None = None) -> None:
        self._total, self._file = total, file or sys.stderr
        self._bar: tqdm | None = None
        self._first: tuple[float, int] | None = None
        self._said = (0.0, 0)  # time and images of the last plain line
        self._latest: dict[str, float] = {}
        self._values = ""  # the same as text

    def update(self, images: int) -> None:
        """Shows that `images` have been seen since the beginning of the run."""
        now, images = time.monotonic(), min(images, self._total)
        if self._first is None:
            self._first = self._said = (now, images)
            if self._file.isatty():
                self._bar = tqdm(
                    total=self._total, initial=images, unit=" images", unit_scale=True, file=self._file, leave=True
                )
        if self._bar is not None:
            self._bar.update(images - self._bar.n)
        elif now - self._said[0] >= _EVERY or self._said[1] < images == self._total:
            self._said = (now, images)
            self.say(self._line(now, images))

    def values(self, values: Mapping[str, float]) -> None:
        """Shows the newest losses and scores beside the progress; metrics.jsonl has all that is measured."""
        self._latest |= {name: values[name] for name in _SHOWN if name in values}
        self._values = ", ".join(f"{name} {value:.4g}" for name, value in self._latest.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._values)

    def say(self, text: str) -> None:
        """Writes a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._file)
        else:
            print(text, file=self._file, flush=True)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, now: float, images: int) -> str:
        assert self._first is not None
        line = f"{images:,} of {self._total:,} images"
        seconds, seen = now - self._first[0], images - self._first[1]
        if seconds > 0 and seen > 0:
            left = datetime.timedelta(seconds=round((self._total - images) * seconds / seen))
            line += f", {seen / seconds:,.0f} images/s, {left} left"
        return f"{line}, {self._values}" if self._values else line
