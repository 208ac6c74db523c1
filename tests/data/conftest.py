import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]


def random_png(seed: int = 0, *, size: tuple[int, int] = (6, 6), mode: str = "RGB") -> bytes:
    """Return an image of random pixels, as the bytes of a PNG file."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stored, "PNG")
    return stored.getvalue()


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Make the bytes of a PNG file with random pixels."""
    return random_png


@pytest.fixture
def write_parquet() -> Callable[..., None]:
    """Write images and labels in the image convention of the Hugging Face hub."""

    def write(
        path: Path,
        images: Sequence[bytes | None],
        labels: Sequence[int | None],
        *,
        class_names: Sequence[str] | None = None,
        image_column: str = "image",
        label_column: str = "label",
    ) -> None:
        rows = [None if content is None else {"bytes": content, "path": None} for content in images]
        image_type = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
        table = pyarrow.table(
            {image_column: pyarrow.array(rows, image_type), label_column: pyarrow.array(labels, pyarrow.int64())}
        )
        if class_names is not None:
            label = {"_type": "ClassLabel", "names": list(class_names)}
            features = {"info": {"features": {image_column: {"_type": "Image"}, label_column: label}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, path)

    return write


@pytest.fixture
def real_data() -> Callable[[str], str]:
    """Give the folder of a real data set, or skip: the data are no part of this repository."""

    def find(name: str) -> str:
        folder = Path(os.environ.get("DFKD_DATA", REPOSITORY.parent / "shared" / "data")) / name
        if not folder.is_dir():
            pytest.skip(f"no real data at {folder}; set DFKD_DATA to the folder that holds {name}")
        return str(folder)

    return find
