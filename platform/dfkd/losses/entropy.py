"""The loss that has a batch of images spread over the classes."""

from __future__ import annotations

import math

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def information_entropy_loss(teacher_logits: Tensor, *, base: float = math.e) -> Tensor:
    """Negative entropy of the mean of a batch's class probabilities.

    ``sum_k p_k log_base p_k`` with ``p = mean_i softmax(T(x_i))``: the lower, the more evenly the batch is spread.

    Args:
        teacher_logits: [B, K].
        base: of the logarithm, above 1. DAFL's public code takes 10, the CMI line e.

    Returns:
        Scalar from -log_base(K), all classes alike, to 0, a single class.

    Source: Chen et al., Data-Free Learning of Student Networks (DAFL), ICCV 2019, section 3.2. Deviation: the mean is
    taken in logarithms, which stay finite where the teacher gives a class no probability that a float can hold.
    """
    log_mean = F.log_softmax(teacher_logits, dim=1).logsumexp(dim=0) - math.log(len(teacher_logits))  # [K]
    return (log_mean.exp() * log_mean).sum() / math.log(base)
