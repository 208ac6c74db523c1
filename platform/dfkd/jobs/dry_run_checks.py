"""What a dry run checks: all that its command checks before it trains anything, as far as that needs no Ray.

What Ray alone can tell is left out: ``check_cluster``, ``check_places`` and ``with_checks_that_fit`` of
``preparation``. So is the probe set, which takes its time to make and is kept in the home.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfkd.assembly import Materials, load_images
from dfkd.compression import check_compressible
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.export import require_onnx
from dfkd.jobs.command import open_output
from dfkd.jobs.distill_options import DistillOptions
from dfkd.jobs.distillation_folder import check_run_folder, known_storage
from dfkd.jobs.preparation import check_objective, storage_uri, try_storage
from dfkd.jobs.rehearsal import embed_all, rehearse, untrained_teacher
from dfkd.jobs.search_folder import SearchFolder, find_search_folder, storage_for
from dfkd.jobs.search_options import SearchOptions
from dfkd.jobs.students import count_parameters
from dfkd.jobs.teacher import find_existing_teacher, teacher_name
from dfkd.search.space import SearchSpace
from dfkd.settings.compression import CompressionSettings
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.objectives import FurtherObjective
from dfkd.settings.search import ObjectiveSettings
from dfkd.tasks.further_objectives import check_data
from dfkd.teachers import Teacher
from dfkd.tracking.connection import check_reachable

NEW_NAME = "<a new name>"  # of a run that was given none


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a command would begin with.

    Attributes:
        data: real images.
        materials: without the probe set; an untrained network stands for a teacher that is to be trained.
        teacher_in_words: which it is.
        exists: whether the teacher is there already.
    """

    data: RealData
    materials: Materials
    teacher_in_words: str
    exists: bool


def check_search(
    space: SearchSpace, options: SearchOptions, *, home: Path, tracking_uri: str
) -> tuple[Checked, SearchFolder | None]:
    """Return what a search would begin with, and the folder of the one that it would go on with.

    Raises:
        ValueError: some trial could not run, or the search could not go on as it is.
        ConnectionError: MLflow does not answer.
        OSError: a place cannot be written.
    """
    earlier = find_search_folder(home, space) if options.resume else None
    check_outputs(options.json_file, storage_for(options.storage, earlier), tracking_uri)
    if earlier is not None and options.storage is not None:
        earlier.check_pinned(storage=storage_uri(options.storage, name=earlier.search_id))
    checked = check_experiments(
        [space.resolve({}), *space.corner_settings()],
        tracking_uri,
        objective=space.settings.objective,
        further=space.settings.further_objectives,
        retrain=options.retrain_teacher,
    )
    if earlier is not None and checked.exists:
        earlier.check_pinned(teacher_hash=checked.materials.teacher.hash)
    return checked, earlier


def check_distillation(
    settings: ExperimentSettings, options: DistillOptions, *, home: Path, tracking_uri: str
) -> Checked:
    """Return what a distillation would begin with.

    Raises:
        ValueError: it could not run, or its name belongs to another one.
        ConnectionError: MLflow does not answer.
        OSError: a place cannot be written.
    """
    if options.compress_teacher:
        require_onnx("--compress-teacher")
    storage = options.storage or known_storage(home / "distillations" / (options.name or NEW_NAME))
    check_outputs(options.json_file, storage, tracking_uri)
    if options.name is not None:
        check_run_folder(home / "distillations" / options.name, options.tracking.told(settings))
    checked = check_experiments([settings], tracking_uri)
    if options.compress_teacher:
        check_compressible(checked.materials.teacher, CompressionSettings())
    return checked


def check_outputs(json_file: str | None, storage: str | None, tracking_uri: str) -> None:
    """Raise OSError if a file or checkpoints could not be written, ConnectionError if MLflow does not answer."""
    open_output(json_file, make_folder=False)
    check_reachable(tracking_uri, create=False)
    if storage is not None:
        try_storage(storage)


def check_experiments(
    experiments: Sequence[ExperimentSettings],
    tracking_uri: str,
    *,
    objective: ObjectiveSettings | None = None,
    further: Mapping[str, FurtherObjective] | None = None,
    retrain: bool = False,
) -> Checked:
    """Put every experiment together as its command would, and return what they share; raise ValueError if one fails."""
    settings = experiments[0]
    data = load_dataset(settings.dataset)
    if objective is not None:
        check_objective(objective, settings, data)
    vectors = embed_all(experiments, data.class_names)
    teacher, in_words, exists = teacher_or_stand_in(settings, data, tracking_uri, retrain=retrain)
    materials = Materials(
        teacher=teacher, validation=data.validation, images=load_images(settings, data), label_embeddings=vectors
    )
    rehearse(experiments, materials, data)
    check_data(further or {}, teacher, images=data.validation)
    return Checked(data=data, materials=materials, teacher_in_words=in_words, exists=exists)


def teacher_or_stand_in(
    settings: ExperimentSettings, data: RealData, tracking_uri: str, *, retrain: bool
) -> tuple[Teacher, str, bool]:
    """Return the teacher, or an untrained network in its place; which it is in words; and whether it exists.

    Args:
        settings: the experiment.
        data: its real images.
        tracking_uri: where MLflow is; asked for a teacher that was trained before, or is given by its address there.
        retrain: look for none that was trained before.

    Raises:
        ValueError: it cannot be had, does not fit the data, or can neither be found nor trained.
    """
    found = find_existing_teacher(settings, data, tracking_uri=tracking_uri, retrain=retrain)
    if found is not None:
        teacher, uri = found
        which = teacher.provenance if uri is None else f"{uri}, trained before"
        return teacher, f"{which} ({_size(teacher)})", True
    assert settings.teacher.architecture is not None
    teacher = untrained_teacher(settings.teacher.architecture, data)
    epochs = settings.teacher.training.epochs
    words = f"to be trained for {epochs} epochs and registered as models:/{teacher_name(data)} ({_size(teacher)})"
    return teacher, words, False


def _size(teacher: Teacher) -> str:
    return f"{teacher.architecture}, {count_parameters(teacher.model):,} parameters"
