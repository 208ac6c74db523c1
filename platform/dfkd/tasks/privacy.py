"""What networks give away of the images that the teacher was trained on: membership inference, and nearest images.

Both are lower bounds: an attack that fails says nothing of the next one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dfkd.data.image_set import ImageSet
from dfkd.tasks.protocol import TaskInput, predict_logits

FALSE_POSITIVE_RATE = 0.001  # Carlini et al. 2022
FEWEST_NON_MEMBERS = 1000  # fewer have no 0.1 %: one of them would be more
_ROWS_AT_A_TIME = 2048


def privacy(task_input: TaskInput) -> dict[str, float]:
    """Return how well members are told from non-members by student and teacher, and whom synthetic images are near.

    The task's images are the non-members. ``auc`` is of the attack, 0.5 by chance. ``tpr_at_fpr_0.001`` is the share of
    members that it finds while it takes at most 0.1 % of the non-members for one; ``tpr_by_chance`` is what it is on
    average where nothing tells them apart, and with a probability of 97.5 % it is at most ``tpr_by_chance_high`` then.
    All three are left out with fewer than 1,000 non-members. With synthetic images come their distances to the
    ``nearest_member`` and the ``nearest_non_member``, and the share that is ``nearer_to_a_member``, 0.5 by chance.

    Source: Yeom et al., Privacy Risk in Machine Learning, CSF 2018 (the loss as the attack); Carlini et al., Membership
    Inference Attacks From First Principles, S&P 2022 (true positives at few false ones, beside the mean over all
    thresholds); Meehan et al., A Non-Parametric Test to Detect Data-Copying in Generative Models, AISTATS 2020
    (distances to the training images against those to held-out ones).

    Raises:
        ValueError: there are no members, or no labels.
    """
    members, others = task_input.members, task_input.images
    if members is None:
        raise ValueError(
            "tasks: 'privacy' needs the images that the teacher was trained on, and others. Give the former as the "
            "data set's train split, and take another split to be scored on."
        )
    scores: dict[str, float] = {}
    sides: tuple[tuple[str, nn.Module, Callable[[Tensor], Tensor]], ...] = (
        ("", task_input.student, task_input.normalise),
        ("teacher_", task_input.teacher, task_input.normalise_for_teacher),
    )
    for prefix, network, normalise in sides:
        known, unknown = (
            losses(predict_logits(network, each.images, normalise=normalise, device=task_input.device), each)
            for each in (members, others)
        )
        scores[f"privacy/{prefix}auc"] = attack_auc(known, unknown)
        if len(others) >= FEWEST_NON_MEMBERS:
            scores[f"privacy/{prefix}tpr_at_fpr_0.001"] = true_positive_rate(known, unknown)
    if len(others) >= FEWEST_NON_MEMBERS:
        mean, high = rate_by_chance(len(members), len(others))
        scores |= {"privacy/tpr_by_chance": mean, "privacy/tpr_by_chance_high": high}
    if task_input.synthetic is not None:
        scores |= compare_distances(task_input.synthetic, members.images, others.images)
    return scores


def losses(logits: Tensor, images: ImageSet) -> Tensor:
    """Return the cross-entropy [N] of logits [N, K]; in float64, where confident answers seldom tie."""
    return cross_entropy(logits.double(), images.require_labels().cpu(), reduction="none")


def attack_auc(members: Tensor, non_members: Tensor) -> float:
    """Return how often a member's loss is below a non-member's, ties counted half: losses [M] and [N]."""
    from sklearn.metrics import roc_auc_score

    is_member = torch.cat([torch.ones_like(members), torch.zeros_like(non_members)])
    return float(roc_auc_score(is_member.numpy(), -torch.cat([members, non_members]).numpy()))


def true_positive_rate(members: Tensor, non_members: Tensor) -> float:
    """Return the share of members below the largest threshold that at most 0.1 % of non-members are below.

    Args:
        members: losses [M].
        non_members: losses [N], at least 1,000.
    """
    allowed = int(len(non_members) * FALSE_POSITIVE_RATE)
    threshold = non_members.sort().values[allowed]  # strictly below it are at most that many, whatever ties
    return float((members < threshold).double().mean())


def rate_by_chance(num_members: int, num_non_members: int) -> tuple[float, float]:
    """Return mean and 97.5 % point of ``true_positive_rate`` where losses of both kinds are alike, without ties.

    Every order of all losses is then equally likely, so the members before the k-th non-member have the negative
    hypergeometric distribution; with k - 1 = 0.1 % of N rounded down, their mean share is k / (N + 1).
    """
    from scipy.stats import nhypergeom

    last = int(num_non_members * FALSE_POSITIVE_RATE) + 1
    found = nhypergeom(num_members + num_non_members, num_members, last)
    return float(found.mean()) / num_members, float(found.ppf(0.975)) / num_members


def compare_distances(synthetic: Tensor, members: Tensor, non_members: Tensor) -> dict[str, float]:
    """Return mean distances to the nearest image of either kind: root mean squares over pixels, in [0, 1].

    Of the larger set only as many images count as the smaller one has, drawn by a fixed seed: among more images the
    nearest is nearer.

    Args:
        synthetic: [S, C, H, W] uint8.
        members: [M, C, H, W] uint8.
        non_members: [N, C, H, W] uint8.
    """
    count, random = min(len(members), len(non_members)), torch.Generator().manual_seed(0)
    near, far = (
        nearest_distances(synthetic, images[torch.randperm(len(images), generator=random)[:count]])
        for images in (members, non_members)
    )
    return {
        "privacy/nearest_member": float(near.mean()),
        "privacy/nearest_non_member": float(far.mean()),
        "privacy/nearer_to_a_member": float(((near < far).double() + 0.5 * (near == far).double()).mean()),
    }


def nearest_distances(images: Tensor, others: Tensor) -> Tensor:
    """Return the distance of each image [S, C, H, W] to the nearest of ``others`` [N, C, H, W], both uint8: [S]."""
    found = []
    for rows in images.flatten(1).split(_ROWS_AT_A_TIME):
        queries, best = rows.float() / 255, torch.full((len(rows),), torch.inf)
        for block in others.flatten(1).split(_ROWS_AT_A_TIME):
            keys = block.float() / 255
            nearest = torch.cdist(queries, keys).argmin(dim=1)
            # Once more: cdist multiplies matrices, and gives a copy a distance above 0.
            best = torch.minimum(best, (queries - keys[nearest]).square().mean(dim=1).sqrt())
        found.append(best)
    return torch.cat(found)
