"""How often each class occurs in the data that a teacher was trained on, read off the teacher itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from dfkd.domain import Domain
from dfkd.losses.inversion import batch_norm_statistics, has_batch_norm

STEPS = 45
LEARNING_RATE = 0.1  # Adam's, of pixel logits
SEED = 0  # its own: every trial and worker of a search shall find the same prior


def estimate_class_prior(teacher: nn.Module, domain: Domain, *, device: torch.device) -> Tensor:
    """Return the mean of the teacher's outputs over images that match its BatchNorm statistics, [K], summing to 1.

    No label is asked for. BatchNorm remembers averages over the training images, so whatever share each class had is
    in them, and a batch that matches them inherits that share. Two simpler readings mislead: the bias of the last
    layer carries little of the prior once the features before it have a mean of their own, and on plain noise a
    teacher says whatever it says far from its data.

    Args:
        teacher: normalised images [B, C, H, W] -> logits [B, K]; frozen, in evaluation mode, on ``device``.
        domain: image shape and normalisation.
        device: where the teacher is.

    Raises:
        ValueError: if the teacher has no BatchNorm.

    Source: ours.
    """
    if not has_batch_norm(teacher):
        raise ValueError(
            "synthesis.class_prior: 'teacher' is read off BatchNorm statistics, and this teacher has none. "
            "Give 'uniform' or a list of shares."
        )
    count = max(128, 4 * domain.num_classes)
    random = torch.Generator(device=device).manual_seed(SEED)
    coarse_shape = (count, domain.channels, -(-domain.height // 2), -(-domain.width // 2))
    coarse = torch.randn(coarse_shape, generator=random, device=device)
    pixel_logits = F.interpolate(coarse, size=(domain.height, domain.width), mode="bilinear").requires_grad_()
    optimizer = torch.optim.Adam([pixel_logits], lr=LEARNING_RATE, fused=True)
    shares = torch.zeros(count, domain.num_classes, device=device)
    with batch_norm_statistics(teacher) as statistics:
        for _ in range(STEPS):
            shares = teacher(domain.normalise(pixel_logits.sigmoid())).detach().softmax(dim=1)
            optimizer.zero_grad(set_to_none=True)
            statistics.loss().backward()
            optimizer.step()
    return shares.mean(dim=0)
