import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import resize as torchvision_resize

from dfkd.data.decode import ExampleSource, decode_splits, resize
from dfkd.data.real_data import RealData
from dfkd.settings.experiment import DatasetSettings


def decode(*images: Image.Image | bytes, **settings: object) -> RealData:
    """Decode images, or the bytes of image files, as a training split of one class."""

    def read(index: int) -> tuple[Image.Image, int]:
        image = images[index]
        return (Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image), 0

    source = ExampleSource(len(images), read, describe=lambda index: f"place, row {index}")
    return decode_splits(DatasetSettings(**settings), {"train": source}, class_names=("a",), title="t")  # type: ignore[arg-type]


def pixels_of(real_data: RealData) -> torch.Tensor:
    assert real_data.train is not None
    return real_data.train.images


def colour(size: tuple[int, int] = (6, 4), seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def stored(image: Image.Image, file_format: str) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format)
    return content.getvalue()


def test_pixels_come_out_as_stored_channels_first() -> None:
    image = colour()
    decoded = pixels_of(decode(stored(image, "PNG")))
    assert decoded.shape == (1, 3, 4, 6)
    assert torch.equal(decoded[0], torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))


def test_order_is_kept_over_many_pieces() -> None:
    images = [Image.new("L", (2, 2), color=index % 251) for index in range(1100)]
    decoded = pixels_of(decode(*images))
    assert decoded[:, 0, 0, 0].tolist() == [index % 251 for index in range(1100)]


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)]
)
def test_channels_are_the_first_images_own(mode: str, channels: int) -> None:
    assert pixels_of(decode(colour().convert(mode))).shape == (1, channels, 4, 6)


def test_settings_choose_the_channels() -> None:
    assert pixels_of(decode(colour(), channels=1)).shape[1] == 1
    assert pixels_of(decode(colour().convert("L"), channels=3)).shape[1] == 3


def test_grey_images_among_coloured_ones_become_coloured() -> None:
    decoded = pixels_of(decode(colour(), colour().convert("L")))
    assert torch.equal(decoded[1, 0], decoded[1, 2])


def test_colours_are_not_dropped_without_being_asked() -> None:
    with pytest.raises(ValueError, match=r"place, row 1: this image has colours.*dataset\.channels"):
        decode(colour().convert("L"), colour())


def test_sixteen_bit_images_are_refused() -> None:
    deep = Image.fromarray(np.full((4, 6), 40_000, dtype=np.uint16))
    with pytest.raises(ValueError, match=r"place, row 0: expected 8 bits a channel, got an image of mode I;16"):
        decode(deep)


def test_images_of_another_size_are_refused_unless_resized() -> None:
    with pytest.raises(ValueError, match=r"place, row 1: this image has 5 x 4 pixels, the first one 6 x 4.*image_size"):
        decode(colour(), colour((5, 4)))


def test_images_of_any_size_are_resized_to_a_square() -> None:
    decoded = pixels_of(decode(colour((6, 4)), colour((9, 7)), colour((6, 4), seed=1), image_size=8))
    assert decoded.shape == (3, 3, 8, 8)
    alone = pixels_of(decode(colour((6, 4), seed=1), image_size=8))
    assert torch.equal(decoded[2], alone[0])


def test_resize_agrees_with_torchvision_to_a_grey_level() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torchvision_resize(images, [6, 5], antialias=True)
    assert (resize(images, height=6, width=5).int() - expected.int()).abs().max() <= 1


def test_resize_keeps_constant_images_constant() -> None:
    white = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
    for side in (9, 16, 40):
        assert torch.equal(resize(white, height=side, width=side), white.new_full((1, 1, side, side), 255))


@pytest.mark.parametrize("broken", [b"", b"no image", stored(colour((64, 64)), "JPEG")[:-200]])
def test_image_that_does_not_decode_is_named(broken: bytes) -> None:
    with pytest.raises(ValueError, match="place, row 1: the image does not decode"):
        decode(stored(colour((64, 64)), "JPEG"), broken)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_image_above_pils_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    content = stored(colour((6, 4)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(
        ValueError, match="place, row 0: the image does not decode .*6 x 4 pixels, above the limit of 20"
    ):
        decode(content)


def test_all_splits_take_the_format_of_the_first() -> None:
    wide, narrow = colour((6, 4)), colour((5, 4))
    sources = {
        "train": ExampleSource(1, lambda index: (wide, 0), lambda index: f"train, row {index}"),
        "test": ExampleSource(1, lambda index: (narrow, 0), lambda index: f"test, row {index}"),
    }
    with pytest.raises(ValueError, match="test, row 0: this image has 5 x 4"):
        decode_splits(DatasetSettings(), sources, class_names=None, title="t")
