"""Small models whose readings are words, as checkpoints and exports."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models import create_model
from models.checkpoint import save_checkpoint
from models.onnx_export import export_onnx

MINI, ACDS = "mgp_str_mini_stem8x8_3_32_128", "acds_str_tiny"


@pytest.fixture(scope="session", params=[MINI, ACDS])
def model(request, small_models) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(request.param).eval()
    fit = small_models.fit_heads if request.param == MINI else small_models.sharpen
    fit(model)
    return model


@pytest.fixture(scope="session")
def checkpoint(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "model.pth"
    save_checkpoint(path, model)
    return path


@pytest.fixture(scope="session")
def onnx_file(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, path)
    return path
