"""Jensen-Shannon divergence: how far two networks' outputs lie apart, the same from either side and bounded."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def jensen_shannon(logits: Tensor, other_logits: Tensor, *, temperature: float) -> Tensor:
    """``JS(p, q) = (KL(p || m) + KL(q || m)) / 2`` with ``m = (p + q) / 2``, mean over the batch.

    Args:
        logits: [B, K]; p is their softmax at the temperature.
        other_logits: [B, K]; q likewise.
        temperature: above 0.

    Returns:
        Scalar in [0, log 2].

    Source: Yin et al., Dreaming to Distill (DeepInversion), CVPR 2020, section 3.3. Deviation: the public code has the
    distributions of each KL the other way round, KL(m || p), which is not bounded, and cuts them to [0.01, 0.99]. We
    follow the paper.
    """
    log_p = F.log_softmax(logits / temperature, dim=1)
    log_q = F.log_softmax(other_logits / temperature, dim=1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    of_p = F.kl_div(log_m, log_p, reduction="batchmean", log_target=True)
    of_q = F.kl_div(log_m, log_q, reduction="batchmean", log_target=True)
    return 0.5 * (of_p + of_q)
