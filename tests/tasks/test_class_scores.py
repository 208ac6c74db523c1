import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from dfkd.tasks.class_scores import class_means, log_odds, macro_auroc, sensitivities


def test_log_odds_are_those_of_the_probabilities_and_do_not_saturate() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0]])
    p = logits.double().softmax(dim=1)
    assert torch.allclose(log_odds(logits), (p / (1 - p)).log())
    sure = log_odds(torch.tensor([[900.0, 0.0, 0.0], [800.0, 0.0, 0.0]]))
    assert sure[0, 0] > sure[1, 0] > 700


def test_sensitivity_is_read_where_enough_others_stay_below() -> None:
    # class 1 by rising score; labels beside: of five others one may lie above at 80 % specificity
    scores = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 7, 8])
    labels = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0, 1])
    logits = torch.stack([torch.zeros(9), scores], dim=1)
    assert sensitivities(logits, labels, specificity=0.8)[1] == pytest.approx(2 / 4)
    assert sensitivities(logits, labels, specificity=0.6)[1] == pytest.approx(3 / 4)
    assert sensitivities(logits, labels, specificity=0.99)[1] == pytest.approx(1 / 4)
    assert sensitivities(logits, labels, specificity=0.01)[1] == 1.0


def test_macro_auroc_is_scikit_learns() -> None:
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(60, 3, generator=random), torch.arange(60) % 3
    logits[range(60), labels] += 1
    expected = roc_auc_score(labels.numpy(), logits.softmax(dim=1).numpy(), multi_class="ovr", average="macro")
    assert macro_auroc(logits, labels) == pytest.approx(expected, abs=1e-6)


def test_classes_without_images_are_not_numbers() -> None:
    logits, labels = torch.eye(3)[[0, 0, 1]], torch.tensor([0, 0, 1])
    found = sensitivities(logits, labels, specificity=0.95)
    assert found[:2] == [1.0, 1.0] and math.isnan(found[2])
    assert macro_auroc(logits, labels) == 1.0
    assert math.isnan(macro_auroc(logits[:2], labels[:2]))
    means = class_means(torch.tensor([True, False, True]), labels, 3)
    assert means[:2] == [0.5, 1.0] and math.isnan(means[2])
