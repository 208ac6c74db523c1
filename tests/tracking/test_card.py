from __future__ import annotations

import pytest

from dfkd.tracking.card import StudentCard


@pytest.fixture
def card() -> StudentCard:
    return StudentCard(
        num_classes=10,
        image_shape=(1, 8, 8),
        latency="0.5 ms an image on cpu",
        method="CAE-DFKD (our reading)",
        teacher_name="digits_teacher",
        teacher_hash="abc123",
        teacher_shifted=False,
        teacher_parameters=100_000,
        student_parameters=12_500,
        settings={"seed": 3, "synthesis": {"method": "cae", "weights": {"one_hot": 0.5}}},
        scores={"test/accuracy": 0.97},
        learnt_from="synthetic images, made from the teacher, and text",
        data_free=True,
        selection_data="the synthetic probe set; no real image",
        objective="agreement",
        objective_value=0.875,
        direction="maximize",
        exam_hash="f00",
        seed=3,
        commit="deadbeef",
        versions={"torch": "2.14.1"},
        scored_on="the test split of digits (360 images)",
    )


def test_a_card_says_all_that_a_user_must_know(card: StudentCard) -> None:
    text = card.to_markdown()
    for fact in (
        "CAE-DFKD (our reading)", "abc123", "12.5% of the teacher's", "agreement = 0.875", "no real image", "f00",
        "deadbeef", "torch 2.14.1", "(1 x 8 x 8) into one of 10 classes", "0.05 MB", "0.5 ms an image on cpu",
        "## Limits", "| test/accuracy | 0.9700 |", '"one_hot": 0.5', "seed 3",
        "on the test split of digits (360 images)",
    ):  # fmt: skip
        assert fact in text


def test_a_card_never_promises_privacy(card: StudentCard) -> None:
    assert "## No privacy guarantee" in card.to_markdown()
    assert "## No privacy guarantee" in card.summary()


def test_a_card_of_a_student_of_real_images_claims_nothing_else(card: StudentCard) -> None:
    import dataclasses

    assert "made without its teacher's training data" in card.summary()
    real = dataclasses.replace(card, learnt_from="real images (the training images)", data_free=False).summary()
    assert "**Learnt from** real images (the training images)" in real
    assert "This student learnt from real images (the training images)." in real
    assert "without its teacher's training data" not in real
    assert "## No privacy guarantee" in real and "no differential privacy" in real


def test_only_a_shifted_teacher_is_called_so(card: StudentCard) -> None:
    import dataclasses

    assert "shifted" not in card.to_markdown()
    assert "shifted teacher" in dataclasses.replace(card, teacher_shifted=True).to_markdown()


def test_a_card_says_whether_the_teachers_maker_is_trusted(card: StudentCard) -> None:
    import dataclasses

    assert "**Teacher provenance** unknown: if somebody hid a backdoor" in card.summary()
    trusted = dataclasses.replace(card, teacher_provenance="trusted").summary()
    assert "**Teacher provenance** trusted\n" in trusted and "backdoor" not in trusted
