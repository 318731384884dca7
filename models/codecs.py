"""Label codecs of a configuration; known without torch."""

from models.config import ConfigError, ModelConfig
from text import Codec, build_codecs


def config_codecs(config: ModelConfig) -> dict[str, Codec]:
    """Label codecs of a configuration, by granularity.

    Raises:
        ConfigError: a charset or vocabulary that can't be used, or one of another size than the
            head.

    """
    try:
        codecs = build_codecs(
            config.characters,
            config.max_length,
            config.granularities,
            {"bpe": config.bpe_vocabulary, "wp": config.wp_vocabulary},
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for name, codec in codecs.items():
        if codec.num_classes != config.num_classes(name):
            raise ConfigError(
                f"The {name} vocabulary has {codec.num_classes} entries, but the model's head "
                f"has {config.num_classes(name)}; give the vocabulary that it was trained with."
            )
    return codecs
