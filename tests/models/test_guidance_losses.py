"""The losses of character boxes against slow loops, and what they leave alone."""

import math

import pytest
import torch
import torch.nn.functional as F

from modules.core_area import core_area_loss
from modules.losses import attention_guidance

POSITIONS, PATCH, GRID = 7, (4, 8), (3, 4)
TOKENS = GRID[0] * GRID[1]
SIZE = (GRID[0] * PATCH[0], GRID[1] * PATCH[1])


@pytest.fixture
def random():
    return torch.Generator().manual_seed(3)


def random_areas(batch: int, random, highest: int = POSITIONS - 1) -> torch.Tensor:
    """Numbers in [0, highest], a third of the pixels outside."""
    numbers = torch.randint(0, highest + 1, (batch, 1, *SIZE), generator=random)
    outside = torch.rand(numbers.shape, generator=random) < 0.3
    return numbers.masked_fill(outside, 0).to(torch.uint8)


def random_attention(batch: int, random, positions: int = POSITIONS) -> torch.Tensor:
    return torch.randn(batch, positions, 1 + TOKENS, generator=random).softmax(-1)


def slow_guidance(attention, core_area, counted) -> tuple[float, int]:
    """Sum and number of the divergences, pixel by pixel."""
    total, count = 0.0, 0
    for b in range(len(attention)):
        if not counted[b]:
            continue
        for position in range(1, attention.shape[1]):
            pixels = [0] * TOKENS
            for y in range(SIZE[0]):
                for x in range(SIZE[1]):
                    if int(core_area[b, 0, y, x]) == position:
                        pixels[y // PATCH[0] * GRID[1] + x // PATCH[1]] += 1
            if not sum(pixels):
                continue
            count += 1
            for token, covered in enumerate(pixels):
                share = covered / sum(pixels)
                if share:
                    given = float(attention[b, position, 1 + token])
                    total += share * (math.log(share) - math.log(given))
    return total, count


def test_guidance_is_the_slow_loop(random):
    areas, attention = random_areas(4, random), random_attention(4, random)
    areas[1][areas[1] == 2] = 0  # a character without a core area
    areas[2] = 0  # none at all
    counted = torch.tensor([True, True, True, False])
    loss = attention_guidance(attention, areas, counted, PATCH)
    total, count = slow_guidance(attention, areas, counted)
    assert loss.count.item() == count == 2 * (POSITIONS - 1) - 1
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
    assert loss.mean.item() == pytest.approx(total / count, rel=1e-5)


def coverage(area: torch.Tensor, number: int) -> torch.Tensor:
    """Share of each patch in a character's core area, [N], by average pooling."""
    pooled = F.avg_pool2d((area == number).float(), PATCH).flatten()
    return pooled / pooled.sum()


def test_attention_that_equals_the_coverage_costs_nothing(random):
    area = random_areas(1, random)
    attention = torch.zeros(1, POSITIONS, 1 + TOKENS)
    attention[0, 0, 0] = 1  # position 0 reads nothing: it may look where it likes
    for position in range(1, POSITIONS):
        attention[0, position, 1:] = coverage(area[0], position)
    loss = attention_guidance(attention, area, torch.tensor([True]), PATCH)
    assert loss.count == POSITIONS - 1
    assert loss.total.item() == pytest.approx(0, abs=1e-5)
    # Any of it on the class token, or on the neighbour's area, costs.
    for other in (torch.eye(1 + TOKENS)[0], attention[0, 2]):
        changed = attention.clone()
        changed[0, 1] = 0.9 * changed[0, 1] + 0.1 * other
        worse = attention_guidance(changed, area, torch.tensor([True]), PATCH)
        assert worse.total > loss.total + 1e-3


def test_guidance_moves_attention_towards_its_area(random):
    area = torch.zeros(1, 1, *SIZE, dtype=torch.uint8)
    area[0, 0, 0:4, 0:8] = 1  # patch 0
    area[0, 0, 8:12, 24:32] = 2  # the last patch
    logits = torch.zeros(1, POSITIONS, 1 + TOKENS, requires_grad=True)
    loss = attention_guidance(logits.softmax(-1), area, torch.tensor([True]), PATCH)
    assert loss.count == 2
    loss.mean.backward()
    assert not logits.grad[0, 0].any() and not logits.grad[0, 3:].any()
    for position, token in ((1, 1), (2, TOKENS)):
        rest = torch.arange(1 + TOKENS) != token
        assert logits.grad[0, position, token] < 0
        assert (logits.grad[0, position, rest] > 0).all()
    for _ in range(200):
        logits = (logits - 5 * logits.grad).detach().requires_grad_()
        attention_guidance(logits.softmax(-1), area, torch.tensor([True]), PATCH).mean.backward()
    attention = logits.softmax(-1)
    assert attention[0, 1, 1] > 0.98 and attention[0, 2, TOKENS] > 0.98


def test_attention_of_zero_has_a_finite_loss_and_gradient():
    area = torch.ones(1, 1, *SIZE, dtype=torch.uint8)
    attention = torch.zeros(1, POSITIONS, 1 + TOKENS, requires_grad=True)
    loss = attention_guidance(attention, area, torch.tensor([True]), PATCH)
    loss.mean.backward()
    assert torch.isfinite(loss.total) and torch.isfinite(attention.grad).all()


def test_numbers_beyond_the_positions_count_for_nothing(random):
    areas, attention = random_areas(2, random, highest=3), random_attention(2, random)
    counted = torch.tensor([True, True])
    expected = attention_guidance(attention, areas, counted, PATCH)
    beyond = torch.where(areas == 0, torch.tensor(255, dtype=torch.uint8), areas)
    beyond[0, 0, 0, :][areas[0, 0, 0, :] == 0] = POSITIONS
    loss = attention_guidance(attention, beyond, counted, PATCH)
    assert loss.count == expected.count == 6
    torch.testing.assert_close(loss.total, expected.total)


@pytest.mark.parametrize("counted", [[False, False], [True, False]])
def test_other_records_are_left_out_of_guidance(random, counted):
    areas, attention = random_areas(2, random), random_attention(2, random)
    counted = torch.tensor(counted)
    attention.requires_grad_()
    loss = attention_guidance(attention, areas, counted, PATCH)
    loss.mean.backward()
    assert loss.count == (POSITIONS - 1) * counted.sum()
    assert attention.grad[0].any() == counted[0]
    assert not attention.grad[1].any()
    areas[1] = 1
    again = attention_guidance(attention, areas, counted, PATCH)
    assert again.total == loss.total


def test_guidance_of_no_records():
    attention = torch.rand(0, POSITIONS, 1 + TOKENS, requires_grad=True)
    nothing = torch.zeros(0, 1, *SIZE, dtype=torch.uint8)
    loss = attention_guidance(attention, nothing, torch.zeros(0, dtype=torch.bool), PATCH)
    assert (loss.total.item(), loss.count.item()) == (0, 0)


def map_and_areas(batch: int, random):
    raw = torch.rand(batch, 1, *SIZE, generator=random) * 3 - 1
    return raw, random_areas(batch, random)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_only_counted_maps_matter(random, form):
    raw, areas = map_and_areas(3, random)
    raw.requires_grad_()
    counted = torch.tensor([True, False, True])
    loss = core_area_loss(raw, areas, counted, form)
    assert loss.count == 2 * SIZE[0] * SIZE[1]
    loss.mean.backward()
    assert not raw.grad[1].any() and raw.grad[0].any() and raw.grad[2].any()
    with torch.no_grad():
        raw[1], areas[1] = 0.3, 1
        assert core_area_loss(raw, areas, counted, form).total == loss.total
        without = core_area_loss(raw[[0, 2]], areas[[0, 2]], counted[[0, 2]], form)
        torch.testing.assert_close(without.total, loss.total.detach())
        raw[0, 0, 0, 0] = 0.3 if form == "sigmoid" else 0.5
        assert core_area_loss(raw, areas, counted, form).total != loss.total


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_parts_of_a_batch_add_up(random, form):
    raw, areas = map_and_areas(5, random)
    counted = torch.tensor([True, False, True, True, False])
    attention = random_attention(5, random)
    whole = core_area_loss(raw, areas, counted, form)
    guided = attention_guidance(attention, areas, counted, PATCH)
    for split in ([1, 4], [2, 3], [5, 0], [1, 1, 1, 1, 1]):
        parts = list(zip(*(t.split(split) for t in (raw, areas, counted, attention)), strict=True))
        losses = [core_area_loss(r, a, c, form) for r, a, c, _ in parts]
        guidance = [attention_guidance(t, a, c, PATCH) for _, a, c, t in parts]
        for expected, found in ((whole, losses), (guided, guidance)):
            torch.testing.assert_close(sum(p.total for p in found), expected.total)
            assert sum(p.count for p in found) == expected.count


def test_the_linear_form_is_clamped_and_weighs_core_areas_twice():
    raw = torch.tensor([-5.0, 0.25, 0.5, 5.0]).view(1, 1, 1, 4).requires_grad_()
    inside = torch.tensor([1, 0, 1, 0], dtype=torch.uint8).view(1, 1, 1, 4)
    loss = core_area_loss(raw, inside, torch.tensor([True]), "linear")
    parts = [-2 * math.log(0.01), -math.log(0.75), -2 * math.log(0.5), -math.log(0.01)]
    assert loss.total.item() == pytest.approx(sum(parts), rel=1e-5)
    loss.total.backward()
    torch.testing.assert_close(raw.grad.flatten(), torch.tensor([0, 1 / 0.75, -4.0, 0]))


def test_the_sigmoid_form_is_weighted_cross_entropy_with_gradient_everywhere(random):
    raw, areas = map_and_areas(2, random)
    raw = (raw * 20).requires_grad_()
    loss = core_area_loss(raw, areas, torch.tensor([True, True]), "sigmoid")
    inside = (areas > 0).float()
    plain = F.binary_cross_entropy_with_logits(raw, inside, pos_weight=torch.tensor(2.0))
    torch.testing.assert_close(loss.mean, plain)
    loss.total.backward()
    assert (raw.grad != 0).float().mean() > 0.99
    assert ((raw.grad < 0) == (inside > 0)).float().mean() > 0.99


def test_any_number_is_inside_and_half_precision_is_no_trouble(random):
    raw, areas = map_and_areas(1, random)
    one = core_area_loss(raw, areas, torch.tensor([True]), "sigmoid")
    same = core_area_loss(raw, (areas > 0) * 255, torch.tensor([True]), "sigmoid")
    assert one.total == same.total
    half = core_area_loss(raw.bfloat16(), areas, torch.tensor([True]), "sigmoid")
    assert half.total.dtype == torch.float32
    torch.testing.assert_close(half.total, one.total, rtol=1e-2, atol=0)


@pytest.mark.parametrize("form", ["linear", "sigmoid"])
def test_maps_that_nobody_learns_reach_their_weights_with_zero(random, form):
    raw, areas = map_and_areas(2, random)
    raw.requires_grad_()
    loss = core_area_loss(raw, areas, torch.tensor([False, False]), form)
    assert (loss.total.item(), loss.count.item(), loss.mean.item()) == (0, 0, 0)
    loss.mean.backward()
    assert raw.grad is not None and not raw.grad.any()
    nothing = core_area_loss(raw[:0], areas[:0], torch.zeros(0, dtype=torch.bool), form)
    assert (nothing.total.item(), nothing.count.item()) == (0, 0)
