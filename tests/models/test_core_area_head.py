"""A core-area head on the patch tokens of plain MGP-STR."""

import pytest
import torch

from modules.core_area import CoreAreaHead

pytestmark = pytest.mark.usefixtures("one_thread")

MGP_TINY = "mgp_str_tiny_patch4_3_32_128"


@pytest.mark.parametrize(("grid", "patch"), [((8, 32), (4, 4)), ((3, 5), (4, 8)), ((2, 2), (8, 4))])
def test_each_token_draws_its_own_patch(grid, patch):
    """Token i draws i, and its pixel (y, x) adds a hundredth of its place in the patch."""
    head = CoreAreaHead(3, grid, patch)
    pixels = patch[0] * patch[1]
    with torch.no_grad():
        head.proj.weight.zero_()
        head.proj.weight[:, 0] = 1
        head.proj.bias.copy_(torch.arange(pixels) / 100)
    tokens = torch.zeros(2, 1 + grid[0] * grid[1], 3)
    tokens[:, 0] = 1000  # the class token draws nothing
    tokens[0, 1:, 0] = torch.arange(grid[0] * grid[1])
    tokens[1, 1:, 0] = 5
    with torch.no_grad():
        drawn = head(tokens)
    assert drawn.shape == (2, 1, grid[0] * patch[0], grid[1] * patch[1])
    for y in range(drawn.shape[2]):
        for x in range(drawn.shape[3]):
            token = y // patch[0] * grid[1] + x // patch[1]
            place = y % patch[0] * patch[1] + x % patch[1]
            assert drawn[0, 0, y, x].item() == pytest.approx(token + place / 100, abs=1e-3)
    assert drawn[1].amin() == 5 and drawn[1].amax() < 5 + pixels / 100


@pytest.mark.parametrize("patch_width", [4, 8])
def test_a_head_on_plain_mgp_reads_the_same_tokens(small_acds, patch_width):
    """Two images that differ in one patch differ in the map of a one-block-free encoder there."""
    sizes = {"width": 48, "num_heads": 3, "depth": 1, "patch_width": patch_width}
    model = small_acds.small_model(
        MGP_TINY, **sizes, granularities=("char",), core_area_head=True
    ).eval()
    model.blocks = torch.nn.ModuleList()  # tokens stay where they are
    one = torch.rand(1, 3, 32, 128)
    other = one.clone()
    other[..., 8:12, 16:24] = 1 - other[..., 8:12, 16:24]
    with torch.no_grad():
        changed = (model(one).core_area != model(other).core_area)[0, 0]
    expected = torch.zeros(32, 128, dtype=torch.bool)
    expected[8:12, 16:24] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_a_head_on_plain_mgp_learns_only_when_told(small_acds, form):
    sizes = {"width": 48, "num_heads": 3, "depth": 2, "core_area_head": True}
    model = small_acds.small_model(MGP_TINY, **sizes, core_area_form=form)
    losses = small_acds.losses_of(model)
    assert {"core_area_loss", "guidance_loss"} <= losses.keys()
    sum(loss.mean for loss in losses.values()).backward()
    assert small_acds.unreached(model) == []
    assert model.core_area_head.proj.weight.grad.any()
    model.zero_grad(set_to_none=True)
    model.learn_core_areas(False)
    losses = small_acds.losses_of(model, core_area=None, has_core_area=None)
    sum(loss.mean for loss in losses.values()).backward()
    assert small_acds.unreached(model) == []
    assert model.core_area_head.proj.weight.grad is None


def test_a_model_without_a_map_has_no_loss_of_it(small_acds):
    model = small_acds.small_model(MGP_TINY, width=48, num_heads=3, depth=2)
    model.learn_core_areas(True)
    losses = small_acds.losses_of(model)
    assert "core_area_loss" not in losses and "guidance_loss" in losses
    with torch.no_grad():
        assert model.eval()(small_acds.batch_for(model.config)[0]).core_area is None
