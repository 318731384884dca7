"""Strings to ids and back: charset, label codecs of the three granularities, fused decoding."""

from text.charset import CHARSET_PRESETS, Charset, Normalized
from text.codec import CharCodec, Codec
from text.fusion import Character, GranularityReading, Reading, fuse
from text.subword import SubwordCodec, build_codecs

__all__ = [
    "CHARSET_PRESETS",
    "CharCodec",
    "Character",
    "Charset",
    "Codec",
    "GranularityReading",
    "Normalized",
    "Reading",
    "SubwordCodec",
    "build_codecs",
    "fuse",
]
