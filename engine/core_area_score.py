"""How well a predicted core-area map covers the true core areas."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dataset import EvaluationDataset, ImageFormat, RecordSet, evaluation_loader
from engine.evaluation import to_device
from loading.loader_processes import start_loading
from records.lmdb_file import DataError

THRESHOLD = 0.5


class NoCoreAreaError(ValueError):
    """A model without a core-area map."""


@dataclass(frozen=True)
class CoreAreaScore:
    """Intersection over union of predicted and true core areas, in percent.

    Attributes:
        images: compared.
        iou: mean over the images.
        pooled_iou: of the pixels of all images together.
        trivial_iou: mean over the images of a map that says "core area" everywhere.
        passed_over: a line for each record that could not be used.

    """

    images: int
    iou: float
    pooled_iou: float
    trivial_iou: float
    passed_over: tuple[str, ...]


def score_core_areas(
    model: nn.Module,
    records: RecordSet,
    device: torch.device,
    batch_size: int,
    workers: int,
    threshold: float = THRESHOLD,
    on_images: Callable[[int], None] = lambda _: None,
) -> CoreAreaScore:
    """Score a model's map on records with character boxes; those without are left out.

    Args:
        model: a recognizer, on the device.
        records: with `read_with_boxes`.
        device: where to compute.
        batch_size, workers: of the loader.
        threshold: a pixel of the map is taken for core area above it.
        on_images: told the number of records after each batch.

    Raises:
        NoCoreAreaError: the model has no core-area map.
        DataError: no record could be compared.

    """
    if not model.config.draws_core_areas:
        raise NoCoreAreaError(
            f"{model.config.name} has no core-area map; train it with --is_mask_supervision."
        )
    model.eval()
    dataset = EvaluationDataset(records, ImageFormat.of(model.config), records.numbers, True)
    sums = torch.zeros(4, dtype=torch.float64)  # IoU, IoU of the trivial map, shared, either
    images, passed_over = 0, []
    for batch in start_loading(evaluation_loader(dataset, batch_size, workers)):
        passed_over += batch.passed_over
        counted = batch.has_core_area
        if counted.any():
            with torch.inference_mode():
                outputs = model(to_device(batch.images[counted], device))
            predicted = outputs.core_area.flatten(1).cpu() > threshold
            true = batch.core_area[counted].flatten(1) > 0
            shared = (predicted & true).sum(1).double()
            either = (predicted | true).sum(1).double()
            # Nothing there and nothing predicted is right.
            iou = torch.where(either > 0, shared / either.clamp(min=1), 1.0)
            trivial = true.double().mean(1)
            sums += torch.stack([iou.sum(), trivial.sum(), shared.sum(), either.sum()])
            images += len(iou)
        on_images(len(batch.texts) + len(batch.passed_over))
    if not images:
        first = f"; the first: {passed_over[0]}" if passed_over else ""
        raise DataError(f"{records.path} has no record whose boxes can be compared{first}")
    mean = 100 * sums[:2] / images
    pooled = 100 * sums[2] / sums[3].clamp(min=1)
    return CoreAreaScore(images, float(mean[0]), float(pooled), float(mean[1]), tuple(passed_over))
