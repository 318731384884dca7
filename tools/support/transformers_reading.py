"""The process of `bench_read.py` that reads with transformers; it imports no model of ours."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    BertTokenizerFast,
    GPT2TokenizerFast,
    MgpstrForSceneTextRecognition,
    MgpstrProcessor,
)

from tools.support.bench_process import DTYPES
from tools.support.reading_rounds import serve_readings

ASSETS = Path(__file__).resolve().parents[2] / "assets"


def their_reading(
    weights: Path, dtype: torch.dtype, device: str
) -> Callable[[list[bytes]], list[str]]:
    """What reads a batch of JPEGs as the documentation of transformers does.

    Args:
        weights: folder of a model.
        dtype: of its weights.
        device: cpu or cuda.

    """
    # The processor asks a hub for its tokenizers, by these names.
    tokenizers = {
        "openai-community/gpt2": GPT2TokenizerFast.from_pretrained(ASSETS / "gpt2"),
        "google-bert/bert-base-uncased": BertTokenizerFast.from_pretrained(
            ASSETS / "bert-base-uncased"
        ),
    }
    sizes = [len(tokenizer) for tokenizer in tokenizers.values()]
    if sizes != [50257, 30522]:  # without its files it makes an empty one, and says nothing
        raise RuntimeError(f"transformers made tokenizers of {sizes} entries of those in assets/.")
    find = AutoTokenizer.from_pretrained
    AutoTokenizer.from_pretrained = lambda name, *more, **options: (
        tokenizers.get(name) or find(name, *more, **options)
    )
    model = MgpstrForSceneTextRecognition.from_pretrained(weights, dtype=dtype).eval().to(device)
    processor = MgpstrProcessor.from_pretrained(weights)

    def read(jpegs: list[bytes]) -> list[str]:
        images = [Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in jpegs]
        pixels = processor(images=images, return_tensors="pt").pixel_values
        with torch.inference_mode():
            logits = model(pixels.to(device, dtype)).logits
            return processor.batch_decode(logits)["generated_text"]

    return read


if __name__ == "__main__":
    _, weights, dtype, batch, images, device = sys.argv[1:]
    read = their_reading(Path(weights), DTYPES[dtype], device)
    serve_readings(read, int(batch), int(images), device)
