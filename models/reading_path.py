"""Recognizers for reading: the same readings up to rounding, faster."""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.acds_str import AcdsMgpStr, AcdsStr
from models.config import ModelConfig
from models.mgp_str import A3Decoding, MgpStr
from models.outputs import GRANULARITIES, Outputs
from modules.cafm import prepend_class
from modules.core_area import core_area_values
from modules.feature_extractor import Features
from modules.folding import FoldedA3, FoldedATD, FoldedMap, fold_extractor
from modules.greedy import most_probable_of, read_until_stop
from modules.packed_block import pack_blocks
from modules.packed_linear import PackedClasses, can_be_packed
from modules.vit import Encoding, TokenTransformer
from system.freed_memory import keep_some_freed_memory

# A block's widest intermediate result, of all images that go through a CPU together: what doesn't
# fit the caches takes longer. These are eight images of acds_str_small in bf16, which are read 1.15
# times as fast so as by thirty-twos, and sixteen of mgp_str_tiny in fp32.
BYTES_AT_ONCE = 13e6

IdsAndProbabilities = tuple[dict[str, Tensor], dict[str, Tensor]]  # by granularity, [B, T]


def reading_path(
    model: nn.Module,
    stop_ids: Mapping[str, int],
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
    use_up: bool = False,
) -> "ReadingPath":
    """The fastest path from images to what is read.

    Args:
        model: a recognizer in evaluation mode. It is not changed; the path may share its weights,
            but for those that are folded, cast, or packed, as those of blocks and wide heads are
            on x86 CPUs.
        stop_ids: by granularity.
        dtype: of the path's weights, which are cast once: float32, or bfloat16 for speed.
        compiled: compile the encoder with torch.compile, at the first images: takes a minute or
            so, which pays on GPUs.
        use_up: take the weights away from the model, one by one where they are not folded, so that
            they are in memory only once; the model can't be used any more.

    """
    if not model.pos_embed.is_cuda:
        keep_some_freed_memory()
    acds = isinstance(model, AcdsStr | AcdsMgpStr)
    # The weights have their own type, whatever the caller's context casts products to.
    with torch.autocast(model.pos_embed.device.type, enabled=False):
        path = (AcdsReadingPath if acds else MgpReadingPath)(model, stop_ids, dtype, use_up).eval()
    if use_up:
        model.to("meta")
    # Found before: blocks are replaced.
    for transformer in [own for own in path.modules() if isinstance(own, TokenTransformer)]:
        choose_attention(transformer, compiled)
        if not compiled:
            pack_blocks(transformer.blocks)
    if compiled:
        path.compile_encoder()
    if use_up:
        leave_file(path)
    return path


class ReadingPath(nn.Module):
    """An encoder, and for each granularity a head that reads its tokens.

    Args:
        config: of the recognizer.
        dtype: of the weights.
        heads: by granularity.

    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, heads: Mapping[str, "Head"]):
        super().__init__()
        self.config, self.dtype = config, dtype
        self.heads = nn.ModuleDict(heads)
        self._compiled = False

    def __getstate__(self) -> dict:
        return {name: value for name, value in super().__getstate__().items() if name != "tokens"}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        if self._compiled:
            self.compile_encoder()

    def compile_encoder(self) -> None:
        """Compile what makes the tokens, but not what makes the maps."""
        self._compiled = True
        self.tokens = torch.compile(self.tokens)

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> tokens [B, 1 + N, D]."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Encoding:
        """Images [B, C, H, W] in [0, 1] -> tokens, with the maps that the recognizer has."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> IdsAndProbabilities:
        """Images [B, C, H, W] in [0, 1] -> ids and probabilities, each [B, T], by granularity."""
        features: dict[str, Tensor] = {}
        at_once = self.images_at_once(images.device)
        for first in range(0, max(1, len(images)), at_once):
            tokens = self.tokens(images[first : first + at_once])
            for name, head in self.heads.items():
                _, own = head(tokens)
                if name not in features:
                    features[name] = own.new_empty(len(images), *own.shape[1:])
                features[name][first : first + at_once] = own
        return self._read(features)

    def images_at_once(self, device: torch.device) -> int:
        """Images that go through the encoder together; on GPUs, any number."""
        if device.type == "cuda":
            return sys.maxsize
        rows, columns = self.config.grid_size
        values = 4 * self.config.width * (1 + rows * columns)
        return max(1, int(BYTES_AT_ONCE // (values * self.dtype.itemsize)))

    def with_maps(self, images: Tensor) -> tuple[IdsAndProbabilities, Outputs]:
        """What `forward` gives, and outputs that have all but logits; of all images together."""
        encoding = self.encode(images)
        attention, features = {}, {}
        for name, head in self.heads.items():
            attention[name], features[name] = head(encoding.tokens)
        return self._read(features), Outputs.of(self.config, encoding, {}, attention)

    def _read(self, features: Mapping[str, Tensor]) -> IdsAndProbabilities:
        ids, probabilities = {}, {}
        for name, head in self.heads.items():
            ids[name], probabilities[name] = head.read(features[name])
        return ids, probabilities


class Head(nn.Module):
    """A granularity's decoder.

    Called with tokens [B, 1 + N, D], it gives its attention [B, T, 1 + N] and features of each
    position. Those are few, so that they are kept of all images, and read together.
    """

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, ...] -> ids and probabilities, each [B, T].

        What they are at position 0, and after a row's first stop, is left open: nobody reads it.
        """
        raise NotImplementedError


class MgpReadingPath(ReadingPath):
    """MGP-STR and CHAR-STR."""

    def __init__(
        self, model: MgpStr, stop_ids: Mapping[str, int], dtype: torch.dtype, use_up: bool
    ):
        # First, so that in bf16 half of it is gone when the widest weights are cast.
        encoder = cast_copy(model, dtype, use_up, without=decoder_names(model))
        super().__init__(model.config, dtype, a3_heads(model, stop_ids, dtype, use_up))
        self.encoder = encoder

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> tokens [B, 1 + N, D]."""
        return self.encoder.encode(images.to(self.dtype), core_area=False).tokens

    def encode(self, images: Tensor) -> Encoding:
        """Images [B, C, H, W] in [0, 1] -> tokens, with the core-area map if there is one."""
        return self.encoder.encode(images.to(self.dtype))


def leave_file(path: nn.Module) -> None:
    """Copy what a path still shares with the weights it was made of.

    Those of a safetensors file are mapped from it, all of them as long as one is used; most were
    cast or packed, and are there twice.
    """
    for parameter in path.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def choose_attention(model: TokenTransformer, compiled: bool) -> None:
    """The fused kernel; on CPUs without AMX, products take half of its time in bf16."""
    products = not model.pos_embed.is_cuda and model.pos_embed.dtype == torch.bfloat16
    model.fuse_attention(not products or has_amx())
    # By hand it asks what came out, which no compiler can know.
    model.attend_by_hand(products and not compiled)


def has_amx() -> bool:
    """Whether this processor has units for products of matrices in bf16."""
    if hasattr(torch.cpu, "get_capabilities"):  # not in PyTorch 2.6
        return torch.cpu.get_capabilities().get("amx_bf16", False)
    return torch.cpu._is_amx_tile_supported()


def cast_copy(
    module: nn.Module, dtype: torch.dtype, use_up: bool, without: Sequence[str] = ()
) -> nn.Module:
    """A copy of a module in a type; parameters that have that type already are shared.

    Args:
        module: what is copied.
        dtype: of the copy.
        use_up: empty each parameter of the module as it is copied; share no buffer.
        without: names of children in whose place the copy has None.

    """
    memo = {id(getattr(module, name)): None for name in without}
    for name, parameter in module.named_parameters():
        if name.split(".")[0] not in without:
            cast = parameter.detach().to(dtype)
            memo[id(parameter)] = nn.Parameter(cast, requires_grad=False)
            if use_up:
                parameter.data = parameter.new_empty(0)
    for name, buffer in module.named_buffers():
        if name.split(".")[0] not in without and buffer.is_floating_point():
            memo[id(buffer)] = buffer.to(dtype, copy=use_up)
    return copy.deepcopy(module, memo)


def decoder_names(model: nn.Module) -> list[str]:
    """Of a recognizer's children, those that decode tokens, or would if anything used them."""
    names = {f"{name}_{part}" for name in GRANULARITIES for part in ("tokenLearner", "head")}
    return [name for name, _ in model.named_children() if name in names | {"head"}]


def a3_heads(
    model: A3Decoding, stop_ids: Mapping[str, int], dtype: torch.dtype, use_up: bool
) -> dict[str, "FoldedA3Head"]:
    """Heads by granularity: folded A3 modules, and the classifiers."""
    heads = {}
    for name in model.config.granularities:
        a3 = FoldedA3(getattr(model, f"{name}_tokenLearner")).to(dtype)
        classifier = cast_copy(model.classifier(name), dtype, use_up)
        if can_be_packed(classifier.weight):
            classifier = PackedClasses(classifier)
        heads[name] = FoldedA3Head(a3, classifier, stop_ids[name])
    return heads


class FoldedA3Head(Head):
    """A granularity's A3 module and linear head, read up to stop."""

    def __init__(self, a3: FoldedA3, classifier: nn.Linear | PackedClasses, stop_id: int):
        super().__init__()
        self.a3, self.classifier, self._stop_id = a3, classifier, stop_id

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + N, D] -> attention [B, T, 1 + N], features [B, T, D]."""
        return self.a3(tokens)

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, D] -> ids and probabilities, each [B, T]."""
        return read_until_stop(features, self.classifier, self._stop_id)


class AcdsReadingPath(ReadingPath):
    """The ACDS encoder with its convolutions folded, and its map; reading, only where it guides."""

    def __init__(
        self,
        model: AcdsStr | AcdsMgpStr,
        stop_ids: Mapping[str, int],
        dtype: torch.dtype,
        use_up: bool,
    ):
        config = model.config
        drawing = FoldedMap(model.cnnBackbone, model.conv_fpn, config.patch_size).to(dtype)
        extractor = fold_extractor(model.cnnBackbone).to(dtype, memory_format=torch.channels_last)
        left_out = ["cnnBackbone", "conv_fpn", *decoder_names(model)]
        if isinstance(model, AcdsStr):
            left_out.append("patch_embed")  # which nothing uses
        transformer = cast_copy(model, dtype, use_up, without=left_out)
        transformer.conv1.to(memory_format=torch.channels_last)
        if isinstance(model, AcdsStr):
            heads = {"char": AtdHead(FoldedATD(model.char_tokenLearner).to(dtype))}
        else:
            heads = a3_heads(model, stop_ids, dtype, use_up)
        super().__init__(config, dtype, heads)
        self.extractor, self.map, self.transformer = extractor, drawing, transformer

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> tokens [B, 1 + N, D]."""
        return self._encode(self._features(images)).tokens

    def encode(self, images: Tensor) -> Encoding:
        """Images [B, C, H, W] in [0, 1] -> tokens, the core-area map, and CAFM's attention."""
        features = self._features(images)
        return replace(self._encode(features), core_area=self.map.whole(features))

    def _features(self, images: Tensor) -> Features:
        return self.extractor(images.to(self.dtype))

    def _encode(self, features: Features) -> Encoding:
        tokens = self.transformer.tokens_of(features)
        if not self.config.guided_blocks:
            return Encoding(self.transformer.run_blocks(tokens))
        values = core_area_values(self.map(features), self.config.core_area_form)
        guidance = prepend_class(values, self.transformer.conv_class)
        tokens, attention = self.transformer.guide(tokens, guidance)
        return Encoding(tokens, guided_attention=attention)


class AtdHead(Head):
    """An ATD; its few classes are read at all positions."""

    def __init__(self, atd: FoldedATD):
        super().__init__()
        self.atd = atd

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + N, D] -> attention [B, T, 1 + N], logits [B, T, classes]."""
        return self.atd(tokens)

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, T, classes] -> ids and probabilities, each [B, T]."""
        return most_probable_of(features)
