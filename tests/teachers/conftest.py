import pytest
import torch

from dfkd.models import build_model
from dfkd.settings.experiment import TeacherSettings
from dfkd.teachers import Teacher, load_teacher

CLASSES = ("cat", "dog", "eel")
SHAPE = (1, 8, 8)


@pytest.fixture
def teacher():
    """A digits_student of three classes, with statistics of its own."""
    torch.manual_seed(0)
    model = build_model("digits_student", num_classes=3, in_channels=1)
    with torch.no_grad():
        model.train()(torch.randn(16, *SHAPE))
    return Teacher(
        model=model.eval(),
        architecture="digits_student",
        class_names=CLASSES,
        image_shape=SHAPE,
        mean=(0.3,),
        std=(0.4,),
        provenance="made in a test",
    )


@pytest.fixture
def load():
    """Load a teacher for three classes of 8x8 images; keywords are settings, or ``class_names`` of the data."""

    def load_for_test(weights, *, data_classes=CLASSES, image_shape=SHAPE, registry=None, foreign=None, **settings):
        return load_teacher(
            TeacherSettings(weights=str(weights), **settings),
            image_shape=image_shape,
            class_names=data_classes,
            registry=registry,
            foreign=foreign,
        )

    return load_for_test
