"""What would end every trial is found before the first one: each experiment of a search is put together once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from dfkd.assembly import Materials, build_distillation
from dfkd.data.image_set import ImageSet
from dfkd.data.real_data import RealData
from dfkd.distillation import Distillation
from dfkd.jobs.students import judge
from dfkd.label_embeddings import embed_labels
from dfkd.losses.inversion import has_batch_norm
from dfkd.settings.experiment import ExperimentSettings, LabelEmbeddingSettings
from dfkd.settings.identity import settings_key
from dfkd.teachers import Teacher, build_network

LabelEmbeddings = dict[LabelEmbeddingSettings, Tensor]


def embed_all(experiments: Iterable[ExperimentSettings], class_names: tuple[str, ...]) -> LabelEmbeddings:
    """Return the label embeddings of all experiments, made once: a file or encoder need not lie on every node.

    Raises:
        ValueError: naming the ways out, if there are none for these classes.
    """
    return {source: embed_labels(source, class_names) for source in {each.label_embeddings for each in experiments}}


def rehearse(experiments: Sequence[ExperimentSettings], materials: Materials, data: RealData) -> None:
    """Put each experiment together and show its networks two images; have its tasks judge the untrained student.

    Args:
        experiments: of one search: teacher, data and tasks are the same.
        materials: the probe set may be missing.
        data: real images that a task may not suit.

    Raises:
        ValueError: what the first experiment that cannot run would be refused for.
    """
    quick = {settings_key(each): each for each in (_without_estimates(each, materials) for each in experiments)}
    for settings in quick.values():
        run = build_distillation(
            settings,
            materials.teacher,
            device=torch.device("cpu"),
            images=materials.images,
            label_embeddings=materials.label_embeddings.get(settings.label_embeddings),
            world_size=settings.workers,
        )
        _show_two_images(run, settings)
    _try_tasks(run, settings, materials, data)


def rehearse_untrained(
    experiments: Sequence[ExperimentSettings],
    data: RealData,
    *,
    images: Tensor | None,
    label_embeddings: LabelEmbeddings,
) -> None:
    """Rehearse with a teacher that has yet to be trained, before that takes its minutes; with a given one do nothing.

    Args:
        experiments: as in ``rehearse``.
        data: what the teacher will be trained on.
        images: of ``load_images``.
        label_embeddings: of ``embed_all``.

    Raises:
        ValueError: as ``rehearse``.
    """
    source = experiments[0].teacher
    if source.weights is not None or source.architecture is None or data.train is None:
        return
    teacher = untrained_teacher(source.architecture, data)
    rehearse(experiments, Materials(teacher=teacher, images=images, label_embeddings=label_embeddings), data)


def untrained_teacher(architecture: str, data: RealData) -> Teacher:
    """Return a teacher that has learnt nothing, in place of one that is to be trained on ``data``."""
    with torch.random.fork_rng(devices=[]):
        model = build_network(architecture, num_classes=data.num_classes, in_channels=data.image_shape[0])
    mean, std = data.normalisation()
    return Teacher(
        model=model.eval(),
        architecture=architecture,
        class_names=data.class_names,
        image_shape=data.image_shape,
        mean=mean,
        std=std,
        provenance="not trained yet",
    )


def _without_estimates(settings: ExperimentSettings, materials: Materials) -> ExperimentSettings:
    """Return the experiment without what takes seconds and cannot fail: a class prior read off BatchNorm statistics."""
    synthesis = settings.synthesis
    if getattr(synthesis, "class_prior", None) != "teacher" or not has_batch_norm(materials.teacher.model):
        return settings
    plain: dict[str, Any] = {"class_prior": "uniform"}
    return dataclasses.replace(settings, synthesis=dataclasses.replace(synthesis, **plain))


def _show_two_images(run: Distillation, settings: ExperimentSettings) -> None:
    shape = run.domain.image_shape
    try:
        with torch.no_grad():
            run.network.eval()(torch.zeros(2, *shape))
    except RuntimeError as error:
        raise ValueError(
            f"student.architecture: '{settings.student.network}' cannot take images {list(shape)} (C, H, W): "
            f"{str(error).splitlines()[0]}"
        ) from error


def _try_tasks(run: Distillation, settings: ExperimentSettings, materials: Materials, data: RealData) -> None:
    for name, images in (("validation", data.validation), ("test", data.test)):
        try:
            judge(run.pair.student, materials.teacher, images and one_a_class(images), settings.tasks)
        except ValueError as error:
            raise ValueError(f"{error} (on the {name} images of {data.title})") from error


def one_a_class(images: ImageSet) -> ImageSet:
    """Return the first image of every class that occurs; the first two where nobody has labelled them."""
    if images.labels is None:
        return images.select(torch.arange(min(2, len(images))))
    classes, rows = images.labels.unique(return_inverse=True)
    first = torch.full((len(classes),), len(images)).scatter_reduce(0, rows, torch.arange(len(images)), "amin")
    return images.select(first)
