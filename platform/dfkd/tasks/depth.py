"""Monocular depth with a light head: metres for every pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd.data.annotated import UNKNOWN_DEPTH, DepthImages
from dfkd.data.annotated_data import DEPTHS
from dfkd.settings.tasks import DepthSettings
from dfkd.tasks.fitting import Batches, fit
from dfkd.tasks.protocol import evaluation_mode
from dfkd.tasks.pyramid import DenseHead, build_dense_head, mirror
from dfkd.tasks.transfer import TransferInput

LOG_DEPTH_LIMITS = (-7.0, 7.0)  # a millimetre and a kilometre: an answer beyond is a slip of the first steps
CLOSE = 1.25


def depth(settings: DepthSettings, given: TransferInput) -> dict[str, float]:
    """Return RMSE in metres, abs-rel and delta_1 after the last epoch, over all pixels whose depth is known."""
    load = DEPTHS[settings.dataset.name]
    train, exam = load(settings.dataset, "train"), load(settings.dataset, given.exam)
    given.check_channels(train.images, "the images with depths")
    for split, found in (("train", train), (given.exam, exam)):
        if not (found.depths > UNKNOWN_DEPTH).any():
            raise ValueError(f"dataset: no pixel of {split} has a known depth.")
    head = build_dense_head(given, train.images, settings, 1)
    with torch.no_grad():
        head.answer.bias.fill_(train.depths[train.depths > UNKNOWN_DEPTH].log().mean())  # type: ignore[union-attr]
    images, depths = train.images.to(given.device), train.depths.to(given.device)

    def loss(rows: Tensor, random: torch.Generator) -> Tensor:
        pixels, wanted = images[rows], depths[rows]
        if settings.dataset.horizontal_flip:
            pixels, wanted = mirror((pixels, wanted), random)
        predicted = head(given.normalise(pixels)).squeeze(1)  # [B, H, W]
        return scale_invariant_loss(predicted, wanted, scale_invariance=settings.scale_invariance)

    fit(
        head,
        head.pyramid.groups(head, settings),
        settings,
        batches=Batches(num_examples=len(images), batch_size=settings.batch_size),
        loss=loss,
        random=given.generator(),
        progress=given.progress,
        where="depth",
    )
    return depth_scores(_predict(head, exam, settings, given), exam.depths)


def scale_invariant_loss(log_predicted: Tensor, depths: Tensor, *, scale_invariance: float) -> Tensor:
    """Return the mean of d^2 less ``scale_invariance`` times the squared mean of d, d the difference of logarithms.

    Args:
        log_predicted: [B, H, W].
        depths: [B, H, W] in metres, 0 where unknown: those pixels do not count.
        scale_invariance: 0 is the plain squared error, 1 does not see a common factor of all depths of an image.

    Returns:
        Scalar: the mean over the images that have a known depth; 0 where none has.

    Source: Eigen et al., Depth Map Prediction from a Single Image, NeurIPS 2014, equation 4.
    """
    known = (depths > UNKNOWN_DEPTH).flatten(1)  # [B, H * W]
    target = depths.clamp_min(1e-6).log()
    difference = (log_predicted - target).flatten(1).masked_fill(~known, 0.0)
    count = known.sum(dim=1).clamp_min(1)  # [B]
    per_image = difference.square().sum(dim=1) / count - scale_invariance * (difference.sum(dim=1) / count).square()
    return per_image.sum() / known.any(dim=1).sum().clamp_min(1)


def depth_scores(predicted: Tensor, depths: Tensor) -> dict[str, float]:
    """Return the scores of predicted depths [N, H, W] in metres, over all pixels of all images whose depth is known.

    ``rmse``: root of the mean squared error, metres. ``abs_rel``: mean of |error| / depth. ``delta_1``: share of pixels
    whose ratio to the depth, or its inverse, is below 1.25.

    Source: Eigen et al., NeurIPS 2014, section 4.
    """
    known = depths > UNKNOWN_DEPTH
    found, wanted = predicted[known].double(), depths[known].double()
    ratio = torch.maximum(found / wanted, wanted / found)
    return {
        "rmse": float((found - wanted).square().mean().sqrt()),
        "abs_rel": float(((found - wanted).abs() / wanted).mean()),
        "delta_1": float((ratio < CLOSE).double().mean()),
    }


def _predict(head: DenseHead, exam: DepthImages, settings: DepthSettings, given: TransferInput) -> Tensor:
    """Return depths [N, H, W] in metres."""
    with evaluation_mode(head), torch.inference_mode():
        pieces = [
            head(given.normalise(images.to(given.device))).squeeze(1).clamp(*LOG_DEPTH_LIMITS).exp().cpu()
            for images in exam.images.split(settings.batch_size)
        ]
    return torch.cat(pieces)
