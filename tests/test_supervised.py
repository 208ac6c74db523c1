import io
import math

import pytest
import torch
from torch import nn

from dfkd.data import load_dataset
from dfkd.data.image_set import ImageSet
from dfkd.models import build_model
from dfkd.settings.experiment import DatasetSettings, TeacherTrainingSettings
from dfkd.supervised import one_cycle, train_teacher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sides():
    """80 noisy 8x8 images, bright on the left (class 0) or on the right (class 1)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(80) % 2
    images = torch.randint(0, 90, (80, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images[labels == 0, :, :, :4] += 120
    images[labels == 1, :, :, 4:] += 120
    return ImageSet(images, labels)


class KnowsNothing(nn.Module):
    """Gives both classes the same logit, whatever its parameter becomes."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return self.scale * images.new_zeros(len(images), 2)


def new_model(seed=0):
    torch.manual_seed(seed)
    return build_model("digits_student", num_classes=2, in_channels=1)


def train(model, images, *, start=None, crop_padding=1, **settings):
    return train_teacher(
        model,
        images,
        TeacherTrainingSettings(**{"epochs": 4, "batch_size": 16, "learning_rate": 0.05} | settings),
        mean=(0.4,),
        std=(0.3,),
        crop_padding=crop_padding,
        horizontal_flip=False,
        device=CPU,
        start=start,
    )


def weights_of(model):
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def test_learning_rate_rises_for_a_fifth_of_the_steps_and_falls_to_zero():
    assert [one_cycle(progress) for progress in (0.0, 0.1, 0.2, 0.6)] == pytest.approx([0.04, 0.52, 1.0, 0.5])
    assert one_cycle(0.999) == pytest.approx(0.0, abs=1e-5)


def test_separable_classes_are_learnt(sides):
    epochs = list(train(new_model(), sides, epochs=6))

    assert [epoch.epoch for epoch in epochs] == list(range(6))
    assert epochs[-1].accuracy > 0.95
    assert epochs[-1].loss < 0.5 * epochs[0].loss


def test_loss_and_accuracy_of_a_network_that_knows_nothing(sides):
    (epoch,) = train(KnowsNothing(), sides, epochs=1)

    assert epoch.loss == pytest.approx(math.log(2))
    assert epoch.accuracy == pytest.approx(0.5)  # all are called class 0


def test_same_seed_gives_the_same_weights_and_another_seed_others(sides):
    models = [new_model(), new_model(), new_model()]
    losses = [
        [epoch.loss for epoch in train(model, sides, seed=seed)] for model, seed in zip(models, (1, 1, 2), strict=True)
    ]

    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(weights_of(models[0]), weights_of(models[1]))
    assert not torch.equal(weights_of(models[0]), weights_of(models[2]))


def test_interrupted_and_resumed_training_is_the_uninterrupted_one_bit_for_bit(sides):
    whole, interrupted, resumed = new_model(), new_model(), new_model(seed=9)
    expected = [(epoch.epoch, epoch.loss, epoch.accuracy) for epoch in train(whole, sides)]
    checkpoint = io.BytesIO()
    for epoch in train(interrupted, sides):
        if epoch.epoch == 1:
            torch.save(epoch.training.state_dict(), checkpoint)
            break
    checkpoint.seek(0)

    left = list(train(resumed, sides, start=torch.load(checkpoint, weights_only=True)))

    assert [(epoch.epoch, epoch.loss, epoch.accuracy) for epoch in left] == expected[2:]
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_training_without_augmentation_or_with_less_than_a_batch_works(sides):
    few = sides.select(torch.arange(5))

    (epoch,) = train(new_model(), few, epochs=1, crop_padding=0)

    assert math.isfinite(epoch.loss)


def test_a_loss_that_is_not_finite_ends_the_training_with_its_epoch(sides):
    with pytest.raises(FloatingPointError, match=r"teacher training: the cross-entropy of epoch \d is (nan|inf)"):
        list(train(new_model(), sides, learning_rate=1e30))


def test_digits_teacher_reaches_0985_on_the_test_split():
    settings = DatasetSettings(name="digits", crop_padding=0, horizontal_flip=False)
    digits = load_dataset(settings)
    mean, std = digits.normalisation()
    torch.manual_seed(0)
    model = build_model("digits_teacher", num_classes=10, in_channels=1)

    for _ in train_teacher(
        model,
        digits.train,
        TeacherTrainingSettings(epochs=20, batch_size=32),
        mean=mean,
        std=std,
        crop_padding=0,
        horizontal_flip=False,
        device=CPU,
    ):
        pass

    images = (digits.test.images / 255 - mean[0]) / std[0]
    with torch.no_grad():
        accuracy = (model.eval()(images).argmax(dim=1) == digits.test.labels).float().mean().item()
    assert accuracy >= 0.985
