"""Damaged, tiny and huge images: decoded, or a ``ValueError`` that names the image; never memory for all its pixels."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dfkd.data.decode import ExampleSource, ImageFormat, decode_examples

FEW = settings(max_examples=150, deadline=None, derandomize=True)
WANTED = ImageFormat(channels=3, height=8, width=8, resize=True, convert=True)


def encoded(kind: str, width: int = 12, height: int = 9) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, format=kind)
    return buffer.getvalue()


def decode(content: bytes) -> None:
    """Decode the image as the second of two."""
    good = encoded("PNG")

    def read(index: int) -> tuple[Image.Image, int]:
        return Image.open(io.BytesIO((good, content)[index])), index

    source = ExampleSource(num_examples=2, read=read, describe=lambda index: f"a.parquet, row {index}")
    try:
        images = decode_examples(source, WANTED)
    except ValueError as error:
        assert "a.parquet, row 1: " in str(error)
    else:
        assert images.images.shape == (2, 3, 8, 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
@FEW
@given(place=st.floats(0, 1), length=st.integers(0, 64), instead=st.binary(max_size=16))
def test_a_damaged_image_is_decoded_or_named(kind: str, place: float, length: int, instead: bytes) -> None:
    content = encoded(kind)
    start = int(place * len(content))
    decode(content[:start] + instead + content[start + length :])


@FEW
@given(content=st.binary(max_size=200))
def test_any_bytes_are_decoded_or_named(content: bytes) -> None:
    decode(content)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (10_000, 10)])
def test_sizes_that_nobody_expects_are_decoded(size: tuple[int, int]) -> None:
    decode(encoded("PNG", *size))


def test_photographs_are_not_kept_as_they_are_until_all_are_read() -> None:
    content = encoded("PNG", 1600, 1600)  # 7.7 MB each once it is decoded
    source = ExampleSource(
        num_examples=30,
        read=lambda index: (Image.open(io.BytesIO(content)), 0),
        describe=lambda index: f"a.parquet, row {index}",
    )
    tracemalloc.start()
    try:
        images = decode_examples(source, WANTED).images
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (images == images[:1]).all()
    assert peak < 80_000_000  # a third of what they are together


def test_a_small_file_of_a_huge_image_is_refused_before_it_is_decoded() -> None:
    """A decompression bomb: 60,000 x 60,000 pixels, of which hardly any are there."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    )
    bomb = b"\x89PNG\r\n\x1a\n" + chunks
    source = ExampleSource(
        num_examples=1, read=lambda index: (Image.open(io.BytesIO(bomb)), 0), describe=lambda index: "a.parquet, row 0"
    )
    with pytest.raises(ValueError, match="a.parquet, row 0: .*(exceeds|above the) limit"):
        decode_examples(source, WANTED)
