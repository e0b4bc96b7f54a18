"""A progress bar with rate and time left; plain lines where there is no terminal."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Self, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

PLAIN_SECONDS = 10.0


class Pace:
    """Rate and time left, measured from the second advance on: the first one also compiles."""

    def __init__(self, rounds: int, done: int, now: float) -> None:
        """A job of ``rounds`` rounds, ``done`` of them in an earlier process; ``now`` in s."""
        self.rounds, self.done = rounds, done
        self._mark, self._steps, self._counted, self._first = now, 0, 0, True
        self.rate = 0.0  # device-steps/s
        self.seconds_left: float | None = None

    def advance(self, device_steps: int, now: float) -> None:
        """Count one more round of ``device_steps`` that ended at ``now`` (s)."""
        self.done += 1
        self._steps += device_steps
        self._counted += 1
        elapsed = max(now - self._mark, 1e-9)
        self.rate = self._steps / elapsed
        self.seconds_left = (self.rounds - self.done) * elapsed / self._counted
        if self._first:
            self._mark, self._steps, self._counted, self._first = now, 0, 0, False

    def text(self) -> str:
        """Rounds, rate and time left in a few words."""
        left = "" if self.seconds_left is None else f"{_clock(self.seconds_left)} left"
        parts = [f"{self.done}/{self.rounds}", f"{self.rate:.3g} device-steps/s" if self.rate else "", left]
        return "  ".join(part for part in parts if part)


class ProgressReport:
    """Shows how far a job is, on standard error: a bar in a terminal, else a line every ten seconds.

    A closed pipe or a vanished terminal ends the report, never the job.
    """

    def __init__(
        self,
        label: str,
        rounds: int,
        done: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Report a job of ``rounds`` rounds, ``done`` of them already; ``stream`` and ``clock`` for tests."""
        self._stream = sys.stderr if stream is None else stream
        self._label, self._clock = label, clock
        self._pace = Pace(rounds, done, clock())
        self._printed = clock()
        self._text = ""
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        """Start the report."""
        self._try(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the report and leave the terminal as it was."""
        self._try(self._stop)

    def advance(self, device_steps: int, metrics: Mapping[str, float] | str = "") -> None:
        """One more round of ``device_steps`` is done; ``metrics`` are shown beside the rate."""
        now = self._clock()
        self._pace.advance(device_steps, now)
        if not isinstance(metrics, str):
            metrics = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._text = metrics
        self._try(lambda: self._show(now))

    def _start(self) -> None:
        console = Console(file=self._stream)
        if not console.is_terminal or console.is_dumb_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        # No refresh thread: an error of a closed terminal must reach _try.
        self._bar = Progress(*columns, console=console, auto_refresh=False)
        self._task = self._bar.add_task(
            escape(self._label), total=self._pace.rounds, completed=self._pace.done, text=self._pace.text()
        )
        self._bar.start()

    def _show(self, now: float) -> None:
        text = "  ".join(part for part in (self._pace.text(), self._text) if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._pace.done, text=escape(text), refresh=True)
        elif now - self._printed >= PLAIN_SECONDS or self._pace.done >= self._pace.rounds:
            self._printed = now
            print(f"{self._label}  {text}", file=self._stream, flush=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _try(self, show: Callable[[], None]) -> None:
        if self._stream is None:
            return
        try:
            show()
        except (OSError, ValueError):  # broken pipe, hung-up terminal, closed file
            self._stream = None


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
