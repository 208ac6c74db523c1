"""Contrastive losses over projections of features: CNCL of CAE-DFKD, its controls, and CMI's."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def contrast(
    anchors: Tensor,
    candidates: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: float,
    num_usable: Tensor | None = None,
) -> Tensor:
    """Pull positives together against negatives.

    ``mean over i with P_i not empty of
    -1/|P_i| sum_{p in P_i} log( exp(z_i.z_p/t) / sum_{a in P_i or N_i} exp(z_i.z_a/t) )``

    Args:
        anchors: z_i [A, D], of unit length.
        candidates: z_a [B, D], of unit length: the anchors themselves, or those of several workers.
        positives: [A, B] booleans, p in P_i.
        negatives: [A, B] booleans, a in N_i.
        temperature: t, above 0.
        num_usable: scalar to divide the sum over anchors by, above 0; None counts the anchors that have a positive.
            Several workers give their mean count, so that the mean of their losses is the loss of all anchors.

    Returns:
        Scalar, at least 0; 0 where no anchor has a positive.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2, for any choice of pairs.
    """
    similarity = anchors @ candidates.mT / temperature  # [A, B]
    allowed = positives | negatives
    # The lowest finite number and not -inf, from which an anchor without any candidate would send NaN backwards.
    lowest = torch.finfo(similarity.dtype).min
    log_total = similarity.masked_fill(~allowed, lowest).logsumexp(dim=1, keepdim=True)  # [A, 1]
    log_share = (similarity - log_total).masked_fill(~positives, 0.0)  # [A, B]
    num_positives = positives.sum(dim=1)  # [A]
    usable = num_positives > 0
    per_anchor = -log_share.sum(dim=1) / num_positives.clamp_min(1)
    count = usable.sum().clamp_min(1) if num_usable is None else num_usable
    return per_anchor.masked_fill(~usable, 0.0).sum() / count


def cncl_pairs(
    labels: Tensor, sources: Tensor, candidate_labels: Tensor, candidate_sources: Tensor, itself: Tensor
) -> tuple[Tensor, Tensor]:
    """Positives and negatives of CNCL: same category under another noise source, against other categories.

    An image of the same category and the same source is neither. With a single source in play there is no other one;
    then other draws of the category are the positives.

    Args:
        labels: [A] of the anchors.
        sources: [A] of the anchors.
        candidate_labels: [B].
        candidate_sources: [B].
        itself: [A, B] booleans, where anchor and candidate are one image.

    Returns:
        positives and negatives, [A, B] booleans each.

    Source: Zhang et al., CAE-DFKD, DAC 2025; what counts as neither is our reading.
    """
    same_class = labels[:, None] == candidate_labels
    same_source = sources[:, None] == candidate_sources
    one_source = (candidate_sources == candidate_sources[:1]).all()
    positives = same_class & ~itself & (~same_source | one_source)
    return positives, ~same_class


def supervised_pairs(labels: Tensor, candidate_labels: Tensor, itself: Tensor) -> tuple[Tensor, Tensor]:
    """Positives and negatives of plain supervised contrast, blind to noise sources: the control for CNCL."""
    same_class = labels[:, None] == candidate_labels
    return same_class & ~itself, ~same_class


def view_pairs(images: Tensor, candidate_images: Tensor, itself: Tensor) -> tuple[Tensor, Tensor]:
    """Positives and negatives of SimCLR: two views of one image [A] of image numbers, against all other images."""
    same_image = images[:, None] == candidate_images
    return same_image & ~itself, ~same_image


def instance_contrast(local: Tensor, whole: Tensor, *, num_new: int, temperature: float) -> Tensor:
    """Recognise every image's local view among the whole views of all images.

    ``mean over new i of l_i + mean over remembered i of l_i``, with
    ``l_i = -log( exp(u_i.v_i/t) / sum_j exp(u_i.v_j/t) )``; the second mean is left out where nothing is remembered.
    The whole views are targets only: they get no gradient.

    Args:
        local: u [B + M, D], of unit length: the B new images first, then M remembered ones.
        whole: v [B + M, D], of unit length, in the same order.
        num_new: B.
        temperature: t, above 0.

    Returns:
        Scalar, at least 0.

    Source: Fang et al., Contrastive Model Inversion, IJCAI 2021, in the form of its public code. Deviation: that code
    adds the second mean as soon as anything was ever stored, which is NaN in the one round in which its memory has just
    become full and hands out nothing.
    """
    similarity = local @ whole.detach().mT / temperature  # [B + M, B + M]
    own = torch.arange(len(similarity), device=similarity.device)
    losses = F.cross_entropy(similarity, own, reduction="none")  # [B + M]
    loss = losses[:num_new].mean()
    return loss + losses[num_new:].mean() if len(losses) > num_new else loss
