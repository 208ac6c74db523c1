"""One distillation by one config: the laptop's way, with its own MLflow run and no search."""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dfkd.assembly import Materials, choose_device, load_images
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import DEVICE_KEY, Report, run_worker
from dfkd.compression import check_compressible
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.export import require_onnx
from dfkd.jobs.command import open_output
from dfkd.jobs.compression import CompressedScores, as_metrics, in_words, score_compressed
from dfkd.jobs.console import Console
from dfkd.jobs.curve import Curve
from dfkd.jobs.dataset_inputs import log_student_inputs
from dfkd.jobs.distill_options import DistillOptions
from dfkd.jobs.distillation_folder import RUN_FOLDER, known_storage, open_run_folder, pin_checkpoints
from dfkd.jobs.distillation_listener import make_listener
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.plain_json import plain_json
from dfkd.jobs.preparation import check_places, resolve_storage, try_storage
from dfkd.jobs.probe_cache import forget_probe_set, obtain_probe_set
from dfkd.jobs.ray_cluster import connected
from dfkd.jobs.rehearsal import embed_all, rehearse, rehearse_untrained
from dfkd.jobs.students import judge, load_student
from dfkd.jobs.synthetic_images import draw_images
from dfkd.jobs.teacher import obtain_teacher, try_given_teacher
from dfkd.settings.compression import CALIBRATION_IMAGES, CompressionSettings
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import flatten, settings_key, shareable
from dfkd.teachers.teacher import teacher_label
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking


def run_distillation(settings: ExperimentSettings, options: DistillOptions, console: Console) -> dict[str, float]:
    """Distil, judge the last epoch's student on the whole test split, and record it all in one MLflow run.

    Returns:
        The test scores.
    """
    if options.compress_teacher:
        require_onnx("--compress-teacher")
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    json_file = open_output(options.json_file)
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run_id = options.name or f"distill-{settings_key(settings)}-{unique}"
    folder = open_run_folder(home / "distillations" / run_id, options.tracking.told(settings))
    storage = options.storage or known_storage(folder)
    if storage is not None:
        try_storage(storage)
    try_given_teacher(settings, tracking_uri)
    check_reachable(tracking_uri)
    curve = Curve(folder / "curve.json")
    with _cluster_for(settings, tracking_uri=tracking_uri, storage=storage):
        shared = None if storage is None else resolve_storage(storage, name=run_id)
        pin_checkpoints(folder, shared or RUN_FOLDER)
        checkpoints = shared or str(folder)
        data = load_dataset(settings.dataset)
        materials = _obtain_materials(settings, options, data, home=home, tracking_uri=tracking_uri, console=console)
        teacher = materials.teacher
        settings = options.tracking.told(settings)  # what needs the names has had them
        with MlflowTracking(tracking_uri, home, run_id) as tracking:
            run = tracking.open_parent("distillations", run_id, {"dfkd.kind": "distillation"})
            run.log_params(flatten(shareable(settings)) | {"commit": commit()} | versions())
            log_student_inputs(run, settings, data, materials)
            curve.start()
            listener = make_listener(run, console, curve, total_epochs=settings.total_epochs)
            image_every = options.tracking.previews_every(settings.total_epochs)
            _train(settings, materials, checkpoints, listener, image_every=image_every)
            state = CheckpointStore(checkpoints).newest(rank=0, world_size=settings.workers)
            assert state is not None  # the last epoch always leaves a checkpoint
            student = load_student(settings, teacher, state)
            scores = judge(student, teacher, data.test, settings.tasks).scores
            run.log_metrics({f"test/{name}": value for name, value in scores.items()}, step=curve.num_epochs)
            compressed = []
            if options.compress_teacher:
                synthetic = draw_images(settings, materials, state, count=CALIBRATION_IMAGES).images
                compressed = score_compressed(settings, teacher, synthetic, data.test)
                run.log_metrics(as_metrics(compressed), step=curve.num_epochs)
            run.close("FINISHED")
        if options.tracking.is_sensitive:
            CheckpointStore(checkpoints).remove()
            forget_probe_set(teacher.hash, home)
    console.show(_summary(settings, data, scores, curve.seconds))
    for row in compressed:
        console.show(in_words(row))
    if json_file:
        device = state["report"].get(DEVICE_KEY, "unknown")
        _write_json(json_file, settings, scores, curve, compressed, device)
    return scores


def _obtain_materials(
    settings: ExperimentSettings,
    options: DistillOptions,
    data: RealData,
    *,
    home: Path,
    tracking_uri: str,
    console: Console,
) -> Materials:
    """Return what the run is made of: the teacher, its probe set, and real images for reports.

    Raises:
        ValueError: the run could not go.
    """
    label_embeddings = embed_all([settings], data.class_names)
    images = load_images(settings, data)
    rehearse_untrained([settings], data, images=images, label_embeddings=label_embeddings)
    teacher = obtain_teacher(
        settings,
        data,
        home=home,
        tracking_uri=tracking_uri,
        console=console,
        sensitive=options.tracking.is_sensitive,
    )
    if options.compress_teacher:
        check_compressible(teacher, CompressionSettings())
    materials = Materials(
        teacher=teacher,
        validation=data.validation,
        images=images,
        label_embeddings=label_embeddings,
    )
    rehearse([options.tracking.told(settings)], materials, data)  # what needs the names has had them
    return replace(materials, probe=obtain_probe_set(teacher, home))


@contextmanager
def _cluster_for(settings: ExperimentSettings, *, tracking_uri: str, storage: str | None) -> Iterator[None]:
    """Be connected to Ray where there are several workers; one needs none.

    Raises:
        ValueError: the cluster cannot give the workers, or its nodes could not all reach MLflow or the checkpoints.
    """
    if settings.workers == 1:
        yield
        return
    with connected():
        from dfkd.cluster.resources import check_fits

        check_fits(settings, settings.workers)
        check_places(tracking_uri=tracking_uri, storage=storage)
        yield


def _train(
    settings: ExperimentSettings, materials: Materials, uri: str, listen: Callable[[Report], None], *, image_every: int
) -> None:
    """Run one worker here, or several on Ray Train."""
    if settings.workers == 1:
        session = LocalSession(choose_device(settings), listen, CheckpointStore(uri))
        run_worker(settings, materials, session, image_every=image_every)
    else:
        from dfkd.cluster.data_parallel import run_data_parallel_here

        run_data_parallel_here(settings, materials, uri, image_every=image_every, on_report=listen)


def _summary(settings: ExperimentSettings, data: RealData, scores: dict[str, float], seconds: float) -> str:
    teacher = f" ({teacher_label(shifted=True)})" if settings.teacher.shifted else ""
    lines = [
        f"{data.title}, seed {settings.seed}, {settings.workers} worker(s), {seconds / 60:.1f} minutes of distillation"
    ]
    lines += [f"  {name:<28} {value:.4f}{teacher if 'teacher' in name else ''}" for name, value in scores.items()]
    return "\n".join(lines)


def _write_json(
    file: Path,
    settings: ExperimentSettings,
    scores: dict[str, float],
    curve: Curve,
    compressed: list[CompressedScores],
    device: str,
) -> None:
    facts = {
        "settings": shareable(settings),
        "teacher": teacher_label(shifted=settings.teacher.shifted),
        "test": scores,
        "compressed_teacher": [dataclasses.asdict(row) for row in compressed],
        "distillation_seconds": curve.seconds,
        "curve": curve.points,
        "commit": commit(),
        "versions": versions(),
        "cpu_count": os.cpu_count(),
        "device": device,
    }
    file.write_text(plain_json(facts))
