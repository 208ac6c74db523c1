import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch import Tensor

from dfkd.baselines.image_crops import load_crops, make_crops
from dfkd.data.real_data import RealData
from dfkd.settings.synthesis import ImageCropsSettings

Data = Callable[..., RealData]
#: A crop is the middle 1/sqrt(2) of the whole image, or of its mirror image.
PLAIN = ImageCropsSettings(
    num_crops=40, first_crop=1.0, smallest_area=1.0, degrees=0, shear_degrees=0, colour_jitter=0, cutmix=0
)


def ramp(size: int = 64) -> Tensor:
    """A grey level that rises from left to right: [1, size, size]."""
    return torch.linspace(0, 255, size).round().to(torch.uint8).expand(1, size, size)


def crops_of(image: Tensor, size: int = 8, **settings: Any) -> Tensor:
    chosen = replace(PLAIN, **settings)
    return make_crops(image, chosen, height=size, width=size, generator=torch.Generator().manual_seed(0))


def test_without_changes_a_crop_is_the_middle_of_the_image_or_its_mirror_image() -> None:
    crops = crops_of(ramp()).float()
    slopes = crops.diff(dim=3)
    rising = slopes.mean(dim=(1, 2, 3)) > 0
    assert 8 < rising.sum() < 32  # half of 40, within 4 standard deviations
    assert crops.diff(dim=2).abs().max() == 0
    wide = (crops.amax(dim=(1, 2, 3)) - crops.amin(dim=(1, 2, 3))) / 255
    # The crop's shape varies: its longer side is cut at the image's. From the first pixel's centre to the last's.
    assert wide.max() <= 2**-0.5 * 7 / 8 * 1.03 and wide.min() > 0.75**0.5 * 2**-0.5 * 7 / 8 * 0.98


def test_small_areas_give_close_views() -> None:
    close, whole = (crops_of(ramp(256), smallest_area=share).float() for share in (1e-4, 1.0))
    spread = [(crops.amax(dim=3) - crops.amin(dim=3)).mean(dim=(1, 2)) for crops in (close, whole)]
    assert spread[0].min() < 0.3 * spread[1].min()
    assert close.mean(dim=(1, 2, 3)).std() > 3 * whole.mean(dim=(1, 2, 3)).std()  # from all over the image


def test_a_turned_crop_shows_what_lies_outside_of_its_rectangle_and_never_black() -> None:
    bright = torch.full((1, 40, 40), 200, dtype=torch.uint8)
    assert crops_of(bright, degrees=45, shear_degrees=30).min() >= 199


def test_rotation_and_shear_turn_the_levels() -> None:
    assert crops_of(ramp(), degrees=30).float().diff(dim=2).abs().amax(dim=(1, 2, 3)).median() > 1
    sheared = crops_of(ramp(), shear_degrees=30).float()
    assert sheared.diff(dim=2).abs().amax(dim=(1, 2, 3)).median() > 1


def test_a_fine_pattern_becomes_grey_and_no_moire() -> None:
    checkers = ((torch.arange(256).view(-1, 1) + torch.arange(256)) % 2 * 255).to(torch.uint8).unsqueeze(0)
    crops = crops_of(checkers, size=16).float()  # 11 pixels a pixel
    assert (crops - 127.5).abs().max() < 3


def test_crops_are_the_same_for_the_same_settings(data: Data) -> None:
    settings = ImageCropsSettings(num_crops=12)
    once, again = load_crops(settings, data()), load_crops(settings, data())
    other = load_crops(ImageCropsSettings(num_crops=12, crops_seed=1), data())
    assert once.shape == (12, 3, 8, 8) and once.dtype == torch.uint8
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_crops_of_a_grey_teacher_are_grey(data: Data) -> None:
    assert load_crops(ImageCropsSettings(num_crops=3), data(1, 8, 6)).shape == (3, 1, 8, 6)


def test_the_image_may_be_a_file_or_a_row_of_a_parquet_file(data: Data, tmp_path: Path) -> None:
    rows = []
    for level in (10, 200):
        stored = io.BytesIO()
        Image.new("RGB", (20, 30), (level, level, level)).save(stored, "PNG")
        rows.append({"bytes": stored.getvalue(), "path": None})
    (tmp_path / "one.png").write_bytes(rows[0]["bytes"])
    pyarrow.parquet.write_table(pyarrow.table({"image": rows}), tmp_path / "some.parquet")
    plain = {"num_crops": 2, "colour_jitter": 0.0}
    assert load_crops(ImageCropsSettings(path=str(tmp_path / "one.png"), **plain), data()).unique().tolist() == [10]
    second = ImageCropsSettings(path=str(tmp_path / "some.parquet"), row=1, **plain)
    assert load_crops(second, data()).unique().tolist() == [200]
    with pytest.raises(ValueError, match=r"^synthesis.path: .* row 2 .*it has 2 rows, counted from 0"):
        load_crops(ImageCropsSettings(path=str(tmp_path / "some.parquet"), row=2), data())


def test_what_is_no_image_is_refused(data: Data, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name in ("broken.png", "absent.png"):
        with pytest.raises(ValueError, match=rf"^synthesis.path: expected an image, .*{name}"):
            load_crops(ImageCropsSettings(path=str(tmp_path / name)), data())


@pytest.mark.parametrize(
    ("setting", "value"), [("first_crop", 0.0), ("smallest_area", 1.1), ("degrees", 90), ("num_crops", 0), ("row", -1)]
)
def test_settings_out_of_range_are_refused_by_name(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{setting}: expected"):
        ImageCropsSettings(**{setting: value})  # type: ignore[arg-type]
