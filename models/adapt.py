"""Weights of one configuration for a model of another: keeps what matches, says what does not."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoint_error import CheckpointError
from models.config import ModelConfig


@dataclass(frozen=True)
class Adaptation:
    """What became of the entries when weights moved to another configuration.

    Attributes:
        kept: number of entries taken as they are.
        share: of the model's numbers, those of the entries taken as they are.
        converted: a sentence for each entry taken in part (characters, positions, sizes).
        partly: those of which some rows keep their fresh initialisation.
        initialised: entries that keep their fresh initialisation.
        left_out: entries of the source that the model has no place for.

    """

    kept: int
    share: float
    converted: tuple[str, ...]
    partly: tuple[str, ...]
    initialised: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.kept} entries taken as they are ({self.share:.0%} of the model)"]
        lines += list(self.converted)
        if self.initialised:
            lines.append(f"newly initialised: {', '.join(self.initialised)}")
        if self.left_out:
            lines.append(f"not used: {', '.join(self.left_out)}")
        return "\n".join(lines)


def load_adapted(
    model: nn.Module, source: ModelConfig, state_dict: Mapping[str, Tensor]
) -> Adaptation:
    """Load weights of another charset, label length, image size or set of heads.

    Rows of character heads move by character, positions of the labels by index; position
    embeddings are interpolated. What has no counterpart keeps its initialisation.

    Raises:
        CheckpointError: nothing of the encoder's blocks fits.

    """
    target: ModelConfig = model.config
    own = model.state_dict()
    state_dict = _by_role(state_dict, source, target)
    kept, converted, partly, initialised = [], [], [], []
    for name, fresh in own.items():
        given = state_dict.get(name)
        if (
            given is None
            or _other_classes(name, source, target)
            or _other_places(name, source, target)
        ):
            initialised.append(name)
        elif (
            _is_char_head(name)
            and source.characters != target.characters
            and given.shape[1:] == fresh.shape[1:]
        ):
            own[name], shared = _move_characters(given, fresh, source, target)
            converted.append(
                f"{name}: {shared} of {len(target.characters)} characters taken over, the rest "
                "newly initialised"
            )
            if shared < len(target.characters):
                partly.append(name)
        elif fresh.shape == given.shape and not (
            name == "pos_embed" and source.grid_size != target.grid_size
        ):
            own[name] = given
            kept.append(name)
        elif name == "pos_embed" and given.shape[2] == fresh.shape[2]:
            own[name] = _resize_positions(given, source, target)
            converted.append(
                "pos_embed: interpolated from "
                f"{' to '.join('x'.join(map(str, c.grid_size)) for c in (source, target))} patches"
            )
        elif (
            name.endswith(("tokenLearner.1.weight", "tokenLearner1.1.weight"))
            and given.shape[1:] == fresh.shape[1:]
        ):
            rows = min(len(given), len(fresh))
            own[name] = torch.cat([given[:rows], fresh[rows:]])
            converted.append(f"{name}: {rows} of {len(fresh)} label positions taken over")
            if rows < len(fresh):
                partly.append(name)
        else:
            initialised.append(name)
    if all(name in initialised for name in own if name.startswith("blocks.")):
        raise CheckpointError(
            f"Weights of {source.name} are none to start {target.name} from: nothing in its "
            "encoder's blocks fits. Check --saved_model, and --TransformerModel, without which the "
            "base size is meant."
        )
    maps = [name for name in kept if name.startswith(("conv_fpn.", "core_area_head."))]
    if maps and source.core_area_form != target.core_area_form:
        converted.append(
            f"the core-area map was learned in the {source.core_area_form} form, and is taken for "
            f"the {target.core_area_form} one: it has other values until that is learned"
        )
    model.load_state_dict(own)
    left_out = tuple(name for name in state_dict if name not in own)
    numbers = {name: value.numel() for name, value in own.items()}
    share = sum(numbers[name] for name in kept) / sum(numbers.values())
    return Adaptation(
        len(kept), share, tuple(converted), tuple(partly), tuple(initialised), left_out
    )


def _by_role(
    state_dict: Mapping[str, Tensor], source: ModelConfig, target: ModelConfig
) -> dict[str, Tensor]:
    """The state dict with the trained character classifier where the target has its own.

    CHAR-STR classifies with `head` and never uses `char_head`; the others have it the other way
    round, or no `head`.
    """
    if (source.family == "char-str") == (target.family == "char-str"):
        return dict(state_dict)
    swapped = {"head": "char_head", "char_head": "head"}
    return {
        f"{swapped.get(module, module)}.{part}" if part else name: value
        for name, value in state_dict.items()
        for module, _, part in [name.partition(".")]
    }


def _other_places(name: str, source: ModelConfig, target: ModelConfig) -> bool:
    """Whether an entry has a number for each token, and the tokens lie elsewhere."""
    return ".tokenLearner1." in name and source.grid_size != target.grid_size


def _is_char_head(name: str) -> bool:
    atd = ("char_tokenLearner.tokenLearner2.1.", "char_tokenLearner.norm_1.")
    return name.startswith(("char_head.", "head.", *atd))


def _other_classes(name: str, source: ModelConfig, target: ModelConfig) -> bool:
    """Whether a subword head's rows mean other pieces, whatever its shape."""
    return any(
        name.startswith(f"{g}_head.")
        and getattr(source, f"{g}_vocabulary") != getattr(target, f"{g}_vocabulary")
        for g in ("bpe", "wp")
    )


def _move_characters(
    given: Tensor, fresh: Tensor, source: ModelConfig, target: ModelConfig
) -> tuple[Tensor, int]:
    moved = fresh.clone()
    moved[:2] = given[:2]  # start and stop
    row_of = {c: i + 2 for i, c in enumerate(source.characters)}
    shared = 0
    for row, character in enumerate(target.characters, start=2):
        if character in row_of:
            moved[row] = given[row_of[character]]
            shared += 1
    return moved, shared


def _resize_positions(given: Tensor, source: ModelConfig, target: ModelConfig) -> Tensor:
    class_token, patches = given[:, :1], given[:, 1:]
    patches = patches.transpose(1, 2).unflatten(2, source.grid_size)
    patches = F.interpolate(patches, target.grid_size, mode="bicubic", align_corners=False)
    return torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
