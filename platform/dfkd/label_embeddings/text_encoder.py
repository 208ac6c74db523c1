"""Prompts -> vectors by any sentence-transformers model, CLIP's text tower among them (extra ``[text]``)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfkd.settings.experiment import LabelEmbeddingSettings

_HUB_TIMEOUT_SECONDS = 10
_WEIGHTS_FILES = ("*.safetensors", "pytorch_model*.bin")


def text_embeddings(settings: LabelEmbeddingSettings, class_names: tuple[str, ...]) -> Tensor:
    """Return the encoder's vectors [K, E] of ``settings.prompt`` with each class name in it."""
    return encode_prompts(settings, fill_prompt(settings.prompt, class_names))


def index_embeddings(settings: LabelEmbeddingSettings, class_names: tuple[str, ...]) -> Tensor:
    """Return the encoder's vectors [K, E] of ``settings.prompt`` with "class 0", "class 1", ... in it.

    The control that tells whether the names' meaning helps: same encoder, no meaning.
    """
    return encode_prompts(settings, fill_prompt(settings.prompt, [f"class {i}" for i in range(len(class_names))]))


def fill_prompt(prompt: str, class_names: Sequence[str]) -> list[str]:
    """Return the prompt for each class, underscores in names as spaces."""
    return [prompt.replace("{class}", name.replace("_", " ")) for name in class_names]


def encode_prompts(settings: LabelEmbeddingSettings, prompts: Sequence[str]) -> Tensor:
    """Return vectors [K, E] float32 of K prompts, computed on the CPU so that every machine gives the same.

    Raises:
        ValueError: naming the ways out, if the package or the model is not there.
    """
    if settings.model is None:
        raise ValueError(
            f"label_embeddings.model: '{settings.name}' needs a text encoder, a sentence-transformers folder or name; "
            "got none. Without one, `label_embeddings.name: orthogonal` gives rows without language."
        )
    encoder = _load_encoder(settings.name, settings.model)
    vectors = encoder.encode(list(prompts), convert_to_tensor=True, show_progress_bar=False)
    return torch.as_tensor(vectors).float().clone()  # the copy leaves the encoder's inference mode


def _load_encoder(source: str, model: str) -> Any:
    """Return a sentence-transformers model from a folder, from its cache, or from the hub if that can be reached."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ValueError(
            f"label_embeddings.name: '{source}' needs sentence-transformers, which cannot be imported ({error}). "
            "Ways out: `pip install -e '.[text]'`; `name: file` with vectors made elsewhere by "
            "experiments/make_label_embeddings.py; `name: packaged` for the built-in classes; `name: orthogonal`."
        ) from error
    folder = Path(model).expanduser()
    try:
        if not folder.exists() and not _in_cache(SentenceTransformer, model):
            _reach_hub()
            return SentenceTransformer(model, device="cpu")
        return SentenceTransformer(str(folder) if folder.exists() else model, device="cpu", local_files_only=True)
    except Exception as error:  # the hub's HTTP library, and so its errors, change with its version
        raise ValueError(
            "label_embeddings.model: expected the folder of a sentence-transformers model, or a name that can be "
            f"fetched from here; '{model}' cannot be loaded: {error}"
        ) from error


def _in_cache(sentence_transformer: Any, model: str) -> bool:
    try:
        sentence_transformer(model, device="cpu", local_files_only=True)
    except (OSError, ValueError):
        return False
    return True


def _reach_hub() -> None:
    """Raise the HTTP library's error if the hub is out of reach: loading would try again for over a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    get_session().head(constants.ENDPOINT, timeout=_HUB_TIMEOUT_SECONDS)


def describe_encoder(model_folder: Path, name: str) -> str:
    """Return the encoder's name with its weights files and their SHA-256: what tells one encoder from another.

    Raises:
        ValueError: if the folder holds no weights.
    """
    weights = sorted(path for pattern in _WEIGHTS_FILES for path in model_folder.rglob(pattern))
    if not weights:
        raise ValueError(f"--model: expected a folder with weights ({', '.join(_WEIGHTS_FILES)}), got {model_folder}.")
    hashes = [f"{path.relative_to(model_folder)} SHA-256 {_sha256(path)}" for path in weights]
    return ", ".join([name, *hashes])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
