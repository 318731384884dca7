"""What the progress line says."""

from engine.meter import Meter
from engine.step import StepResult


def test_a_skipped_step_does_not_hide_the_loss():
    meter = Meter(1)
    for loss, skipped in ((2.0, False), (float("nan"), True), (4.0, False)):
        meter.add(8, 0.1, 0.2, StepResult({"char_loss": loss}, loss, 1.0, 0.1, skipped))
    assert meter.shown()["loss"] == "3.0000"


def test_steps_that_were_all_skipped_show_what_they_came_to():
    meter = Meter(1)
    meter.add(8, 0.1, 0.2, StepResult({"char_loss": 1.0}, float("inf"), 1.0, 0.1, skipped=True))
    assert meter.shown()["loss"] == "inf"
