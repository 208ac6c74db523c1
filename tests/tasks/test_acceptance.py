import json
from typing import Any

import pytest
import torch
from torch import Tensor

from dfkd.settings.acceptance import AcceptanceSettings
from dfkd.tasks.acceptance import Acceptance, judge_acceptance
from dfkd.tasks.acceptance_report import to_markdown, to_plain, verdict

NAMES = ("cat", "dog")


def answers(predicted: Tensor) -> Tensor:
    return 4 * torch.nn.functional.one_hot(predicted, 2).float()


def judge(wrong: int, *, images: int = 600, labels: Tensor | None = None, **rule: Any) -> Acceptance:
    """Judge a student that differs from a perfect teacher on the first ``wrong`` images."""
    labels = torch.arange(images) % 2 if labels is None else labels
    student = labels.clone()
    student[:wrong] = 1 - student[:wrong]
    return judge_acceptance(
        answers(student), answers(labels), labels, NAMES, AcceptanceSettings(resamples=2000, **rule)
    )


def failed(found: Acceptance) -> list[str]:
    return [check.name for check in found.checks if not check.passed]


def test_a_student_within_the_margin_is_accepted_and_one_beyond_is_not() -> None:
    assert judge(0).passed
    assert judge(4).passed
    assert failed(judge(12)) == ["non_inferiority"]  # exactly the margin
    assert judge(12, margin=0.05).passed


def test_few_images_are_no_evidence_though_all_answers_agree() -> None:
    assert failed(judge(0, images=100)) == ["enough_images"]
    assert judge(0, images=150).passed
    assert failed(judge(0, images=100, confidence=0.9, margin=0.02)) == ["enough_images"]


def test_a_class_without_images_is_not_accepted() -> None:
    assert failed(judge(0, labels=torch.zeros(600, dtype=torch.int64))) == ["classes_without_images"]


@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        ({"minimum_worst_class_agreement": 0.98}, True),
        ({"minimum_worst_class_agreement": 0.999}, False),
        ({"minimum_sensitivity": 0.9}, True),
        ({"minimum_sensitivity": 1.0}, False),
        ({"minimum_macro_auroc": 0.98}, True),
        ({"minimum_macro_auroc": 0.9999}, False),
        ({"maximum_calibration_error": 0.05}, True),
        ({"maximum_calibration_error": 0.001}, False),
    ],
)
def test_a_limit_decides_where_it_is_given(rule: dict[str, float], accepted: bool) -> None:
    found = judge(4, **rule)
    assert failed(found) == ([] if accepted else list(rule))


def test_the_worst_class_is_the_one_that_counts() -> None:
    labels = torch.cat([torch.ones(40), torch.zeros(560)]).long()
    found = judge(4, labels=labels)
    assert found.scores["worst_class_agreement"] == pytest.approx(36 / 40)
    assert found.scores["balanced_accuracy"] == pytest.approx((1 + 36 / 40) / 2)
    assert [row.agreement for row in found.classes] == pytest.approx([1.0, 36 / 40])
    assert found.scores["teacher_accuracy"] == 1.0


def test_the_report_says_verdict_reason_and_every_check() -> None:
    rule = AcceptanceSettings(resamples=2000)
    good, bad = judge(0), judge(60)
    assert verdict(good, rule).startswith("accepted: in accuracy the student loses at most 2 points")
    assert verdict(bad, rule).startswith("not accepted: non_inferiority is -0.1")
    text = to_markdown(bad, rule, facts={"images": "600 of pets"})
    assert "**Not accepted: non_inferiority" in text
    assert "- images: 600 of pets" in text
    assert "| cat | 300 |" in text
    for check in bad.checks:
        assert f"| {check.name} |" in text
    plain = json.loads(json.dumps(to_plain(bad, rule)))
    assert plain["passed"] is False and plain["checks"][0]["passed"] is False
    assert plain["difference"]["estimate"] == pytest.approx(-0.1)
