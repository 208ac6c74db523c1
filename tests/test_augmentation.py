import torch
from torch import Tensor

from dfkd.augmentation import augment

IMAGES = torch.rand(40, 2, 5, 7, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_by_one(images: Tensor, padding: int, horizontal_flip: bool, generator: torch.Generator) -> Tensor:
    """The same with slices: mirror, pad by repeated edges, crop at the drawn corner."""
    shifts = torch.randint(-padding, padding + 1, (2, len(images), 1), generator=generator).squeeze(2)
    mirrored = torch.rand(len(images), 1, generator=generator) < 0.5
    cropped = []
    for index, image in enumerate(images):
        upright = image.flip(2) if horizontal_flip and mirrored[index] else image
        padded = torch.nn.functional.pad(upright[None], (padding,) * 4, mode="replicate")[0]
        top, left = (int(shift) + padding for shift in shifts[:, index])
        cropped.append(padded[:, top : top + image.shape[1], left : left + image.shape[2]])
    return torch.stack(cropped)


def test_no_padding_and_no_flip_is_the_identity_and_draws_nothing() -> None:
    generator = seeded()
    before = generator.get_state()
    assert augment(IMAGES, crop_padding=0, horizontal_flip=False, generator=generator) is IMAGES
    assert torch.equal(generator.get_state(), before)


def test_it_equals_a_crop_of_each_padded_image() -> None:
    for padding, flip in ((0, True), (1, False), (3, True), (9, True)):  # 9: further than the image is wide
        expected = one_by_one(IMAGES, padding, flip, seeded())
        found = augment(IMAGES, crop_padding=padding, horizontal_flip=flip, generator=seeded())
        assert torch.equal(found, expected)
        assert not torch.equal(found, IMAGES)


def test_every_image_is_moved_on_its_own() -> None:
    same = IMAGES[:1].expand(40, -1, -1, -1)
    moved = augment(same, crop_padding=2, horizontal_flip=True, generator=seeded())
    assert len(moved.flatten(1).unique(dim=0)) > 20  # of 50 equally likely outcomes


def test_half_of_the_images_are_mirrored() -> None:
    ramp = torch.arange(4.0).expand(1000, 1, 4, 4)
    mirrored = augment(ramp, crop_padding=0, horizontal_flip=True, generator=seeded())[:, 0, 0, 0] == 3
    assert 420 < int(mirrored.sum()) < 580  # 5 standard deviations of a binomial


def test_gradcheck() -> None:
    images = IMAGES[:2, :1, :3, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: augment(x, crop_padding=1, horizontal_flip=True, generator=seeded()), images
    )
