import typing

from dfkd.label_embeddings import LABEL_EMBEDDINGS
from dfkd.settings.experiment import LabelEmbeddingSettings


def test_every_source_of_the_settings_exists() -> None:
    names = typing.get_args(typing.get_type_hints(LabelEmbeddingSettings)["name"])
    assert tuple(LABEL_EMBEDDINGS) == names
