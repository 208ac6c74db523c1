"""What a run's page says of the images that it used: real ones, by what they were for, and the probe set."""

from __future__ import annotations

from dfkd.assembly import Materials
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.jobs.probe_cache import probe_hash
from dfkd.settings.experiment import ExperimentSettings
from dfkd.tracking.protocol import DatasetInput, Tracker


def log_student_inputs(
    run: Tracker, settings: ExperimentSettings, data: RealData, materials: Materials, *, metric: str | None = None
) -> None:
    """Tell a search or a distillation which images it uses.

    Args:
        run: of the search or distillation.
        settings: its default settings.
        data: its real images.
        materials: of its trials.
        metric: key of the reports that trials are compared by; None where nothing is chosen.
    """
    by = "" if metric is None else metric.partition("/")[0]
    if materials.probe is not None:
        made = ImageSet(materials.probe.images, None)
        context = "selection" if by == "probe" else "reports"
        _log(run, "probe set", made, context, source="made from the teacher alone", digest=probe_hash(materials.probe))
    if materials.images is not None:  # of a baseline, which is not data-free
        name = f"images of {settings.synthesis.method}"
        _log(run, name, ImageSet(materials.images, None), "training the student", source=settings.synthesis.method)
    contexts = {"validation": "selection" if by == "val" else "reports", "test": "last score"}
    _log_splits(run, settings, data, contexts)


def log_teacher_inputs(run: Tracker, settings: ExperimentSettings, data: RealData) -> None:
    """Tell the training of a teacher which images it uses."""
    contexts = {"train": "training the teacher", "validation": "last score", "test": "last score"}
    _log_splits(run, settings, data, contexts)


def _log_splits(run: Tracker, settings: ExperimentSettings, data: RealData, contexts: dict[str, str]) -> None:
    for split, images in data.splits.items():
        if split in contexts:
            _log(run, f"{data.title}, {split}", images, contexts[split], source=settings.dataset.name)


def _log(run: Tracker, name: str, images: ImageSet, context: str, *, source: str, digest: str | None = None) -> None:
    """Record one data set. The source is its kind and not its place, which is nobody else's business."""
    run.log_dataset(
        DatasetInput(
            name=name,
            digest=digest or images.fingerprint(),
            context=context,
            source=source,
            num_images=len(images),
            image_shape=images.image_shape,
        )
    )
