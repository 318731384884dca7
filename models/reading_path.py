"""Recognizers for reading: the same readings up to rounding, faster, and without pictures."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from freed_memory import keep_some_freed_memory
from models.acds_str import AcdsMgpStr, AcdsStr
from models.mgp_str import A3Decoding, MgpStr
from modules.cafm import prepend_class
from modules.core_area import core_area_values
from modules.folding import FoldedA3, FoldedATD, FoldedMap, fold_extractor
from modules.greedy import most_probable_of, read_until_stop
from modules.packed_block import pack_blocks
from modules.packed_linear import PackedClasses, can_be_packed
from modules.vit import TokenTransformer

# Images that go through a CPU together: by eights, acds_str_small in bf16 reads 1.15 times as fast
# as by thirty-twos, whose intermediate results don't fit the caches.
AT_ONCE = 8


def reading_path(
    model: nn.Module,
    stop_ids: Mapping[str, int],
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
) -> "ReadingPath":
    """The fastest path from images to what is read.

    Args:
        model: a recognizer in evaluation mode. It is not changed; the path may share its weights,
            but for those that are folded, cast, or packed (see `modules.packed_block`).
        stop_ids: by granularity.
        dtype: of the path's weights, which are cast once: float32, or bfloat16 for speed.
        compiled: compile the encoder with torch.compile, at the first images: takes a minute or
            so, which pays on GPUs.

    """
    if not model.pos_embed.is_cuda:
        keep_some_freed_memory()
    acds = isinstance(model, AcdsStr | AcdsMgpStr)
    path = (AcdsReadingPath if acds else MgpReadingPath)(model, stop_ids, dtype).eval()
    for module in path.modules():
        if isinstance(module, TokenTransformer):
            choose_attention(module, compiled)
    if compiled:
        path.tokens = torch.compile(path.tokens)
    else:
        pack_blocks(path)
    return path


class ReadingPath(nn.Module):
    """An encoder, and for each granularity a head that reads its tokens.

    Args:
        heads: by granularity.

    """

    def __init__(self, heads: Mapping[str, "Head"]):
        super().__init__()
        self.heads = nn.ModuleDict(heads)

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> tokens [B, 1 + N, D]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Images [B, C, H, W] in [0, 1] -> ids and probabilities, each [B, T], by granularity."""
        features: dict[str, list[Tensor]] = {name: [] for name in self.heads}
        for part in [images] if images.is_cuda else images.split(AT_ONCE):
            tokens = self.tokens(part)
            for name, head in self.heads.items():
                features[name].append(head(tokens))
        ids, probabilities = {}, {}
        for name, head in self.heads.items():
            ids[name], probabilities[name] = head.read(torch.cat(features[name]))
        return ids, probabilities


class Head(nn.Module):
    """A granularity's decoder: called with tokens [B, 1 + N, D], gives features of each position.

    Those are few, so that they are kept of all images, and read together.
    """

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, ...] -> ids and probabilities, each [B, T].

        What they are at position 0, and after a row's first stop, is left open: nobody reads it.
        """
        raise NotImplementedError


class MgpReadingPath(ReadingPath):
    """MGP-STR and CHAR-STR."""

    def __init__(self, model: MgpStr, stop_ids: Mapping[str, int], dtype: torch.dtype):
        own = cast_copy(model, dtype)
        super().__init__(a3_heads(model, own, stop_ids))
        drop_heads(own)
        self.model = own

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> tokens [B, 1 + N, D]."""
        return self.model.encode(images.to(self.model.pos_embed.dtype), core_area=False).tokens


def choose_attention(model: TokenTransformer, compiled: bool) -> None:
    """The fused kernel; on CPUs in bf16, products take a third of its time."""
    products = not model.pos_embed.is_cuda and model.pos_embed.dtype == torch.bfloat16
    model.fuse_attention(not products)
    # By hand it asks what came out, which no compiler can know.
    model.attend_by_hand(products and not compiled)


def cast_copy(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a model in a type; what has that type already is shared, not copied."""
    cast: dict[int, Tensor] = {
        id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in model.parameters()
    }
    cast |= {id(b): b.to(dtype) for b in model.buffers() if b.is_floating_point()}
    return copy.deepcopy(model, cast)


def a3_heads(
    model: A3Decoding, cast: A3Decoding, stop_ids: Mapping[str, int]
) -> dict[str, "FoldedA3Head"]:
    """Heads by granularity: A3 modules folded from the model, on the classifiers of its copy."""
    heads = {}
    for name in model.config.granularities:
        a3 = FoldedA3(getattr(model, f"{name}_tokenLearner")).to(cast.pos_embed.dtype)
        classifier = cast.classifier(name)
        # In fp32 the weights are the model's own: a packed copy takes more memory than it is worth.
        if classifier.weight.dtype == torch.bfloat16 and can_be_packed(classifier.weight):
            classifier = PackedClasses(classifier)
        heads[name] = FoldedA3Head(a3, classifier, stop_ids[name])
    return heads


def drop_heads(copied: nn.Module) -> None:
    """Leave only the encoder of a copy, whose heads are read by others or by nobody."""
    for name in dict(copied.named_children()):
        if name.endswith(("head", "tokenLearner")):
            delattr(copied, name)


class FoldedA3Head(Head):
    """A granularity's A3 module and linear head, read up to stop."""

    def __init__(self, a3: FoldedA3, classifier: nn.Linear | PackedClasses, stop_id: int):
        super().__init__()
        self.a3, self.classifier, self._stop_id = a3, classifier, stop_id

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D] -> features [B, T, D]."""
        return self.a3(tokens)

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, D] -> ids and probabilities, each [B, T]."""
        return read_until_stop(features, self.classifier, self._stop_id)


class AcdsReadingPath(ReadingPath):
    """The ACDS encoder with its convolutions folded, and the map only where CAFM samples it."""

    def __init__(
        self, model: AcdsStr | AcdsMgpStr, stop_ids: Mapping[str, int], dtype: torch.dtype
    ):
        config = model.config
        transformer = cast_copy(model, dtype)
        transformer.conv1.to(memory_format=torch.channels_last)
        for folded in ("cnnBackbone", "conv_fpn"):
            delattr(transformer, folded)
        if isinstance(model, AcdsStr):
            super().__init__({"char": AtdHead(FoldedATD(model.char_tokenLearner).to(dtype))})
            del transformer.patch_embed
        else:
            super().__init__(a3_heads(model, transformer, stop_ids))
        drop_heads(transformer)
        self.transformer = transformer
        self._form = config.core_area_form
        self.extractor = fold_extractor(model.cnnBackbone).to(dtype)
        self.extractor.to(memory_format=torch.channels_last)
        self.map = None
        if config.guided_blocks:
            patch_size = (config.patch_height, config.patch_width)
            self.map = FoldedMap(model.cnnBackbone, model.conv_fpn, patch_size).to(dtype)

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> tokens [B, 1 + N, D]."""
        features = self.extractor(images.to(self.transformer.pos_embed.dtype))
        tokens = self.transformer.tokens_of(features)
        if self.map is None:
            return self.transformer.run_blocks(tokens)
        values = core_area_values(self.map(features), self._form)
        guidance = prepend_class(values, self.transformer.conv_class)
        return self.transformer.guide(tokens, guidance)[0]


class AtdHead(Head):
    """An ATD; its few classes are read at all positions."""

    def __init__(self, atd: FoldedATD):
        super().__init__()
        self.atd = atd

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 1 + N, D] -> logits [B, T, classes]."""
        return self.atd(tokens)

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, T, classes] -> ids and probabilities, each [B, T]."""
        return most_probable_of(features)
