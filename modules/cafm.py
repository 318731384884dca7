"""CAFM, the cross-domain attention guidance and feature-encoding fusion module of ACDS-STR.

Guidance is a number for each token: the core-area map at the token's place. Added to the encoder's
attention, it re-weights the tokens; a gate then merges what comes out with the encoder's own stream
(reference facts).
"""

import torch
from torch import Tensor, nn

from modules.packed_block import PackedBlock
from modules.transformer_block import TransformerBlock


def token_guidance(
    core_area: Tensor, patch_size: tuple[int, int], class_guidance: Tensor
) -> Tensor:
    """Guidance of every token, [B, 1 + N, 1].

    Args:
        core_area: map [B, 1, H, W]; its pixel in each patch's upper left corner is taken.
        patch_size: pixels of a token, rows and columns.
        class_guidance: learned guidance of the class token, [1, 1, 1].

    """
    sampled = core_area[:, :, :: patch_size[0], :: patch_size[1]].flatten(2).transpose(1, 2)
    return prepend_class(sampled, class_guidance)


def prepend_class(guidance: Tensor, class_guidance: Tensor) -> Tensor:
    """Patches' guidance [B, N, 1] with the class token's in front."""
    class_guidance = class_guidance.to(guidance.dtype).expand(guidance.shape[0], -1, -1)
    return torch.cat([class_guidance, guidance], 1)


class GuidedStream:
    """The second stream through the last blocks, re-weighted by guided attention.

    The weights are the encoder's own: this only says how they are used. After every block, the
    stream is `norm(G x stream)` with `G = sigmoid(A + g)`, A the mean of the heads' attention, and
    the guidance g added along each token's own row.

    Args:
        guidance: [B, 1 + N, 1].
        norm: the LayerNorm that all re-weightings share.

    """

    def __init__(self, guidance: Tensor, norm: nn.LayerNorm):
        self._guidance, self._norm = guidance, norm
        self.attention: Tensor | None = None
        self.tokens: Tensor | None = None

    def start(self, tokens: Tensor, attention: Tensor) -> None:
        """Branch off from the main stream after a block.

        Args:
            tokens: the block's output, [B, 1 + N, D].
            attention: its heads' mean, [B, 1 + N, 1 + N].

        """
        self._guide(attention)
        self.tokens = self._norm(self._reweight(tokens))

    def step(self, block: TransformerBlock | PackedBlock) -> None:
        """Through a block that the main stream has passed already."""
        tokens, attention = block.with_attention(self.tokens)
        self._guide(attention)
        self.tokens = self._norm(self._reweight(tokens))

    def merge(self, tokens: Tensor, gate_weight: Tensor) -> Tensor:
        """The main stream's last tokens and this stream, by a learned gate: [B, 1 + N, D].

        Args:
            tokens: [B, 1 + N, D].
            gate_weight: [1, 2 D, D].

        """
        guided = self._norm(self._reweight(tokens) + self.tokens)
        gate = torch.sigmoid(torch.cat([tokens, guided], dim=-1) @ gate_weight[0])
        return gate * tokens + (1 - gate) * guided

    def _guide(self, attention: Tensor) -> None:
        self.attention = torch.sigmoid(attention + self._guidance)

    def _reweight(self, tokens: Tensor) -> Tensor:
        return self.attention.to(tokens.dtype) @ tokens
