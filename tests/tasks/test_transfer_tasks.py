import typing
from collections.abc import Callable

from dfkd.settings.experiment import DatasetSettings
from dfkd.settings.tasks import DepthSettings, NearestNeighboursSettings, TransferTaskSettings
from dfkd.settings.tasks.dense import AnnotatedImagesSettings
from dfkd.tasks.transfer import TransferInput
from dfkd.tasks.transfer_tasks import TRANSFER_TASKS, transfer

Given = Callable[..., TransferInput]


def test_every_task_of_the_settings_can_be_run() -> None:
    names = [member.__dataclass_fields__["task"].default for member in typing.get_args(TransferTaskSettings)]
    assert names == list(TRANSFER_TASKS)


def test_columns_begin_with_the_name_in_the_file(coloured: DatasetSettings, given: Given) -> None:
    assert list(transfer("few_colours", NearestNeighboursSettings(dataset=coloured), given())) == ["few_colours/top1"]


def test_columns_on_drawn_scenes_say_what_they_are(given: Given) -> None:
    scenes = AnnotatedImagesSettings(name="scenes", image_size=(16, 16), max_images=4)
    scores = transfer("far", DepthSettings(dataset=scenes, epochs=1, width=8), given())
    assert set(scores) == {"plumbing/far/rmse", "plumbing/far/abs_rel", "plumbing/far/delta_1"}
