import math

import torch
from torch import Tensor

from dfkd.augmentation import _turn_hue, augment, colour_jitter, cut_mix, random_resized_crop

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


def resized(images: Tensor, *, smallest_share: float, flip: bool = False, seed: int = 0) -> Tensor:
    return random_resized_crop(
        images, smallest_share=smallest_share, horizontal_flip=flip, generator=torch.Generator().manual_seed(seed)
    )


def test_windows_of_a_ramp_are_ramps_inside_it_that_begin_anywhere() -> None:
    ramp = torch.arange(12.0).expand(400, 1, 12, 12)  # every row counts its pixels
    rows = resized(ramp, smallest_share=0.25)[:, 0, 5]  # [400, 12]
    assert rows.min() >= 0 and rows.max() <= 11
    slopes = rows[:, 6] - rows[:, 5]  # away from the edges, which repeat: the window's width as a share
    torch.testing.assert_close(rows[:, 7] - rows[:, 6], slopes)
    assert 0.43 < slopes.min() < 0.5 and 0.95 < slopes.max() <= 1.0001  # sqrt(0.25 * 3/4) = 0.433
    starts = rows[:, 0]
    assert starts.min() < 0.3 and starts.max() > 4


def test_windows_cover_the_share_of_the_area_that_was_asked_for() -> None:
    down = torch.arange(12.0)[:, None].expand(400, 1, 12, 12)
    share = torch.ones(400)
    for ramp, at in ((down, (slice(5, 7), 5)), (down.mT, (5, slice(5, 7)))):
        pixels = resized(ramp, smallest_share=0.5)[(slice(None), 0, *at)]
        share = share * (pixels[:, 1] - pixels[:, 0])
    assert 0.42 < share.min() and share.max() <= 1.0001  # a side that is cut to the image leaves a little less
    assert 0.65 < share.mean() < 0.8


def test_interpolation_weights_sum_to_one_and_half_of_the_images_are_mirrored() -> None:
    bright = torch.ones(6, 1, 5, 7)
    torch.testing.assert_close(resized(bright, smallest_share=0.25, flip=True), bright)
    rows = resized(torch.arange(4.0).expand(1000, 1, 4, 4), smallest_share=0.25, flip=True)[:, 0, 0]
    assert 420 < int((rows[:, 0] > rows[:, -1]).sum()) < 580


def test_resized_crop_gradcheck() -> None:
    images = IMAGES[:2, :1, :4, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resized(x, smallest_share=0.3, flip=True), images)


def test_colour_jitter_of_no_strength_or_no_probability_changes_nothing() -> None:
    colours = torch.rand(5, 3, 4, 4, generator=seeded())
    for strength, probability in ((0.0, 1.0), (0.3, 0.0)):
        found = colour_jitter(colours, strength=strength, probability=probability, generator=seeded())
        torch.testing.assert_close(found, colours)


def test_colour_jitter_changes_the_share_of_images_asked_for_and_keeps_the_range() -> None:
    colours = torch.rand(400, 3, 2, 2, generator=seeded())
    found = colour_jitter(colours, strength=0.4, probability=0.3, generator=seeded())
    changed = (found != colours).flatten(1).any(dim=1).float().mean()
    assert abs(float(changed) - 0.3) < 5 * 0.46 / 20
    assert 0 <= found.min() and found.max() <= 1


def test_colour_jitter_leaves_grey_images_grey_and_serves_one_channel() -> None:
    one = torch.rand(6, 1, 3, 3, generator=seeded())
    grey = colour_jitter(one.repeat(1, 3, 1, 1), strength=0.3, probability=1.0, generator=seeded())
    torch.testing.assert_close(grey, grey[:, :1].repeat(1, 3, 1, 1))
    torch.testing.assert_close(grey[:, :1], colour_jitter(one, strength=0.3, probability=1.0, generator=seeded()))
    assert not torch.equal(grey[:, :1], one)


def test_a_turn_of_the_hue_by_a_third_makes_red_green_or_blue() -> None:
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1)
    third = torch.full((1, 1, 1, 1), 2 * math.pi / 3)
    torch.testing.assert_close(_turn_hue(red, third), red.roll(1, dims=1))
    torch.testing.assert_close(_turn_hue(red, -third), red.roll(-1, dims=1))


def test_the_hue_has_a_strength_of_its_own() -> None:
    colours = 0.3 + 0.4 * torch.rand(50, 3, 2, 2, generator=seeded())
    turned = colour_jitter(colours, strength=0.0, hue=0.05, probability=1.0, generator=seeded())
    assert not torch.allclose(turned, colours)
    torch.testing.assert_close(turned.mean(dim=1), colours.mean(dim=1))  # a turn keeps the grey part
    other = colour_jitter(colours, strength=0.2, hue=0.2, probability=1.0, generator=seeded())
    assert torch.equal(other, colour_jitter(colours, strength=0.2, probability=1.0, generator=seeded()))


def test_colour_jitter_gradchecks() -> None:
    colours = (0.3 + 0.4 * torch.rand(2, 3, 2, 2, dtype=torch.float64, generator=seeded())).requires_grad_()

    def jittered(images: Tensor) -> Tensor:
        return colour_jitter(images, strength=0.1, probability=1.0, generator=seeded())

    assert torch.autograd.gradcheck(jittered, (colours,))


def test_cut_mix_pastes_a_box_of_the_partner_and_tells_its_share() -> None:
    images = torch.arange(60.0).view(60, 1, 1, 1).expand(60, 2, 6, 8).contiguous()  # every pixel names its image
    for seed in range(6):
        mixed, partners, share = cut_mix(images, probability=1.0, generator=seeded(seed))
        assert sorted(partners.tolist()) == list(range(60))
        pasted = mixed != images
        expected = torch.where(pasted, images[partners], images)
        assert torch.equal(mixed, expected)
        others = partners != torch.arange(60)
        torch.testing.assert_close(pasted[:, 0].float().mean(dim=(1, 2))[others], share[others])
        rows, columns = pasted[:, 0].any(dim=2), pasted[:, 0].any(dim=1)
        boxes = rows.sum(dim=1) * columns.sum(dim=1)
        assert torch.equal(boxes, pasted[:, 0].sum(dim=(1, 2)))  # full boxes


def test_cut_mix_mixes_half_of_the_batches_and_half_of_their_images() -> None:
    shares = [cut_mix(IMAGES, probability=0.5, generator=seeded(seed))[2] for seed in range(200)]
    mixed = torch.tensor([float((share > 0).float().mean()) for share in shares])
    assert abs(float((mixed > 0).float().mean()) - 0.5) < 5 * 0.5 / 200**0.5
    assert 0.3 < float(mixed[mixed > 0].mean()) < 0.5  # half, less the boxes below one pixel
    assert float(cut_mix(IMAGES, probability=0.0, generator=seeded())[2].sum()) == 0


def test_cut_mix_sends_each_pixels_gradient_to_the_image_that_it_came_from() -> None:
    images = IMAGES.clone().requires_grad_()
    mixed, partners, share = cut_mix(images, probability=1.0, generator=seeded())
    (gradient,) = torch.autograd.grad(mixed.sum(), images)
    given_and_taken = (1 - share).index_add(0, partners, share)
    torch.testing.assert_close(gradient.mean(dim=(1, 2, 3)), given_and_taken)
