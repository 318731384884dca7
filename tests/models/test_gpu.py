"""Parity on a GPU: one model of each family, fp32 without TF32."""

import pytest
import torch

from models import create_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", ["mgp_str_tiny_patch4_3_32_128", "char_str_base_patch4_3_32_128"])
def test_logits_and_attention_equal_the_cpus(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    model = create_model(name).eval()
    images = torch.rand(4, 3, 32, 128)
    with torch.inference_mode():
        expected = model(images)
        own = model.cuda()(images.cuda())
    for granularity, logits in expected.logits().items():
        torch.testing.assert_close(own.logits()[granularity].cpu(), logits, atol=1e-3, rtol=0)
        torch.testing.assert_close(
            own.attention[granularity].cpu(), expected.attention[granularity], atol=1e-3, rtol=0
        )
