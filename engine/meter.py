"""Loss, speed, and where the time goes, over the last steps."""

import time
from collections import deque
from dataclasses import dataclass

from engine.step import StepResult


@dataclass(frozen=True)
class _Step:
    seconds: float
    images: int
    waited: float
    stepped: float
    result: StepResult


class Meter:
    """Means over a window of steps.

    Args:
        world_size: ranks, each of which takes as many images a step.
        window: steps.

    """

    def __init__(self, world_size: int, window: int = 100):
        self._world_size = world_size
        self._steps: deque[_Step] = deque(maxlen=window)
        self.restart()

    def restart(self) -> None:
        """Start timing anew, after something that is not training."""
        self._last = time.monotonic()

    def add(self, images: int, waited: float, stepped: float, result: StepResult) -> None:
        """Count a step that ends now.

        Args:
            images: of this rank.
            waited: seconds that it waited for data.
            stepped: seconds in forward, backward and optimizer.
            result: its losses.

        """
        now = time.monotonic()
        self._steps.append(_Step(now - self._last, images, waited, stepped, result))
        self._last = now

    @property
    def seconds(self) -> float:
        """How long all steps in the window took together."""
        return max(sum(s.seconds for s in self._steps), 1e-9)

    @property
    def images_per_s(self) -> float:
        """Images a second, of all ranks together."""
        return self._world_size * sum(s.images for s in self._steps) / self.seconds

    @property
    def data_wait_share(self) -> float:
        """Share of the time spent waiting for the loader."""
        return sum(s.waited for s in self._steps) / self.seconds

    @property
    def loop_share(self) -> float:
        """Share of the time spent neither waiting for data nor in the steps themselves."""
        return 1 - sum(s.waited + s.stepped for s in self._steps) / self.seconds

    def shown(self) -> dict[str, str]:
        """Values for the progress line."""
        # Losses that are no numbers changed nothing; where there are no others, they are shown.
        every = [s.result for s in self._steps]
        results = [r for r in every if not r.skipped] or every
        means = {"loss": sum(r.total for r in results) / len(results)}
        if len(results[0].losses) > 1:
            for name in results[0].losses:
                means[name] = sum(r.losses[name] for r in results) / len(results)
        return {
            **{name: f"{mean:.4f}" for name, mean in means.items()},
            "images/s": f"{self.images_per_s:.0f}",
            "data-wait": f"{self.data_wait_share:.0%}",
        }
