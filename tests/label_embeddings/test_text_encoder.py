import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.label_embeddings import embed_labels
from dfkd.label_embeddings.packaged import PACKAGED_VOCABULARIES, packaged_vectors
from dfkd.label_embeddings.text_encoder import describe_encoder, fill_prompt
from dfkd.label_embeddings.vectors import read_vectors
from dfkd.settings.experiment import LabelEmbeddingSettings

SCRIPT = Path(__file__).parents[2] / "experiments" / "make_label_embeddings.py"
NAMES = ("cat", "guinea_pig", "dog")


def embed(source: str, model: Path | str | None, *names: str, prompt: str = "a photo of a {class}") -> torch.Tensor:
    settings = LabelEmbeddingSettings(name=source, model=str(model) if model else None, prompt=prompt)  # type: ignore[arg-type]
    return embed_labels(settings, names)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a sentence encoder: one random BERT layer of width 16, mean pooling."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra [text]")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("models") / "Tiny-Encoder"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"a photo of class cat dog guinea pig 0 1 2".split()]
    (bert / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), **size)).save_pretrained(bert)
    sentence_transformers.SentenceTransformer(str(bert), device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Build a random CLIP of width 16 with a projection to 12; give its sentence-transformers folder and itself."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra [text]")
    from sentence_transformers.models import CLIPModel as ClipModule
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = size | {"vocab_size": len(pieces), "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config=size | {"image_size": 8, "patch_size": 4}, projection_dim=12)
    ).eval()
    plain, folder = tmp_path_factory.mktemp("clip"), tmp_path_factory.mktemp("models") / "tiny-clip"
    model.save_pretrained(plain)
    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(plain)
    sentence_transformers.SentenceTransformer(modules=[ClipModule(str(plain))], device="cpu").save(str(folder))
    return folder, model


def test_prompt_holds_the_class_with_underscores_as_spaces() -> None:
    assert fill_prompt("a {class}, a {class}", ["guinea_pig"]) == ["a guinea pig, a guinea pig"]


def test_sentence_encoder_gives_one_row_a_class(encoder: Path) -> None:
    embeddings = embed("sentence_transformers", encoder, *NAMES)
    assert embeddings.shape == (3, 16)
    assert embeddings.dtype == torch.float32
    assert not embeddings.is_inference()
    torch.testing.assert_close(embed("sentence_transformers", encoder, *reversed(NAMES)), embeddings.flip(0))


def test_prompt_changes_the_vectors(encoder: Path) -> None:
    plain = embed("sentence_transformers", encoder, *NAMES, prompt="{class}")
    assert not torch.allclose(plain, embed("sentence_transformers", encoder, *NAMES))


def test_index_prompts_ignore_the_names(encoder: Path) -> None:
    by_index = embed("index", encoder, *NAMES)
    assert torch.equal(by_index, embed("index", encoder, "x", "y", "z"))
    torch.testing.assert_close(by_index, embed("sentence_transformers", encoder, "class 0", "class 1", "class 2"))


def test_clips_text_tower_gives_its_projected_text_features(clip: tuple[Path, Any]) -> None:
    folder, model = clip
    embeddings = embed("sentence_transformers", folder, "cat", "dog", prompt="{class}")
    # By hand: start, the letters (ids from 2), the last letter as a word's end (from 28), end.
    ids = torch.tensor(
        [[0, *(2 + ord(a) - 97 for a in word[:2]), 28 + ord(word[2]) - 97, 1] for word in ("cat", "dog")]
    )
    with torch.no_grad():
        features = model.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids))
    expected = getattr(features, "pooler_output", features)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=1e-4)


def test_missing_model_is_named_soon(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra [text]")
    with pytest.raises(ValueError, match=r"label_embeddings\.model: .*no-such-model' cannot be loaded"):
        embed("sentence_transformers", tmp_path / "no-such-model", *NAMES)


def test_encoder_without_the_extra_names_the_ways_out() -> None:
    if importlib.util.find_spec("sentence_transformers") is not None:
        pytest.skip("the extra [text] is installed")
    with pytest.raises(ValueError, match=r"\.\[text\]") as error:
        embed("sentence_transformers", "some-model", *NAMES)
    for way_out in ("name: file", "name: packaged", "name: orthogonal"):
        assert way_out in str(error.value)


def test_index_prompts_without_an_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match="model: label embeddings 'index' need a text encoder"):
        LabelEmbeddingSettings(name="index", model=None)


def test_encoder_is_described_by_the_hash_of_its_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert describe_encoder(tmp_path, "my encoder") == f"my encoder, model.safetensors SHA-256 {expected}"


def test_folder_without_weights_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with weights"):
        describe_encoder(tmp_path, "x")


@pytest.mark.slow
def test_script_remakes_every_packaged_vocabulary(encoder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, "--model", encoder, "--output", tmp_path], check=True, capture_output=True)
    assert len(list(tmp_path.iterdir())) == len(PACKAGED_VOCABULARIES)
    for vocabulary in PACKAGED_VOCABULARIES:
        remade, original = (
            read_vectors(tmp_path / f"{vocabulary}-tiny-encoder.safetensors"),
            packaged_vectors(vocabulary),
        )
        assert (remade.class_names, remade.prompt) == (original.class_names, original.prompt)
        assert remade.encoder == describe_encoder(encoder, "Tiny-Encoder")


def test_script_encodes_own_classes_for_use_as_a_file(encoder: Path, tmp_path: Path) -> None:
    own = ["--class-names", *NAMES, "--prompt", "a {class}", "--title", "pets"]
    subprocess.run(
        [sys.executable, SCRIPT, "--model", encoder, "--output", tmp_path, *own], check=True, capture_output=True
    )
    path = tmp_path / "pets-tiny-encoder.safetensors"
    from_file = embed_labels(LabelEmbeddingSettings(name="file", path=str(path)), NAMES)
    torch.testing.assert_close(from_file, embed("sentence_transformers", encoder, *NAMES, prompt="a {class}"))
