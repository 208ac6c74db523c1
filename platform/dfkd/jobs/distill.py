"""One distillation by one config: the laptop's way, with its own MLflow run and no search."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfkd.assembly import Materials, choose_device, load_images
from dfkd.cluster.checkpoints import CheckpointStore
from dfkd.cluster.local_session import LocalSession
from dfkd.cluster.worker import DEVICE_KEY, PREVIEW_KEY, WARNING_KEY, Report, run_worker
from dfkd.compression import check_compressible
from dfkd.data import load_dataset
from dfkd.data.real_data import RealData
from dfkd.export import require_onnx
from dfkd.jobs.command import open_output
from dfkd.jobs.compression import CompressedScores, as_metrics, in_words, score_compressed
from dfkd.jobs.console import Console, duration, percent
from dfkd.jobs.curve import Curve
from dfkd.jobs.dataset_inputs import log_student_inputs
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.plain_json import plain_json
from dfkd.jobs.preparation import check_places, resolve_storage, try_storage
from dfkd.jobs.probe_cache import forget_probe_set, obtain_probe_set
from dfkd.jobs.ray_cluster import connected
from dfkd.jobs.rehearsal import embed_all, rehearse, rehearse_untrained
from dfkd.jobs.students import judge, load_student
from dfkd.jobs.surroundings import default_storage
from dfkd.jobs.synthetic_images import draw_images
from dfkd.jobs.teacher import obtain_teacher, try_given_teacher
from dfkd.settings.checks import check_name
from dfkd.settings.compression import CALIBRATION_IMAGES, CompressionSettings
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.identity import flatten, settings_key, shareable, to_dict
from dfkd.settings.search import TrackingSettings
from dfkd.teachers.teacher import teacher_label
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.mlflow_tracker import MlflowTracking
from dfkd.tracking.protocol import Tracker

CHECKPOINTS_FILE = "checkpoints.txt"  # in a run's folder: where its checkpoints lie
RUN_FOLDER = "its own folder"  # where they lie without a storage: in words, since a home may be moved
SETTINGS_FILE = "settings.json"  # in the folder of a run


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillOptions:
    """Options of ``experiments/distill.py``: see its ``--help``. ``tracking`` is of its config."""

    home: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    name: str | None = None
    json_file: str | None = None
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    compress_teacher: bool = False

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name("--name", self.name)


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
        label_embeddings = embed_all([settings], data.class_names)
        images = load_images(settings, data)
        rehearse_untrained([settings], data, images=images, label_embeddings=label_embeddings)
        sensitive = options.tracking.is_sensitive
        teacher = obtain_teacher(
            settings, data, home=home, tracking_uri=tracking_uri, console=console, sensitive=sensitive
        )
        settings = options.tracking.told(settings)  # what needs the names has had them
        if options.compress_teacher:
            check_compressible(teacher, CompressionSettings())
        materials = Materials(
            teacher=teacher,
            validation=data.validation,
            images=images,
            label_embeddings=label_embeddings,
        )
        rehearse([settings], materials, data)
        materials = replace(materials, probe=obtain_probe_set(teacher, home))
        with MlflowTracking(tracking_uri, home, run_id) as tracking:
            run = tracking.open_parent("distillations", run_id, {"dfkd.kind": "distillation"})
            run.log_params(flatten(shareable(settings)) | {"commit": commit()} | versions())
            log_student_inputs(run, settings, data, materials)
            curve.start()
            listener = _listener(run, console, curve, total_epochs=settings.total_epochs)
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
        if sensitive:
            CheckpointStore(checkpoints).remove()
            forget_probe_set(teacher.hash, home)
    console.show(_summary(settings, data, scores, curve.seconds))
    for row in compressed:
        console.show(in_words(row))
    if json_file:
        device = state["report"].get(DEVICE_KEY, "unknown")
        _write_json(json_file, settings, scores, curve, compressed, device)
    return scores


def open_run_folder(folder: Path, settings: ExperimentSettings) -> Path:
    """Return the folder of a run, new or to go on with.

    Raises:
        ValueError: a run of this name had other settings; its checkpoints would be taken for this one's.
    """
    known = check_run_folder(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS_FILE).write_text(json.dumps(known, indent=1))
    return folder


def check_run_folder(folder: Path, settings: ExperimentSettings) -> dict[str, Any]:
    """Return the settings that a run was begun with, or these if it is new; raise as ``open_run_folder``."""
    file = folder / SETTINGS_FILE
    known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else to_dict(settings)
    if settings_key(known) != settings_key(settings):
        raise ValueError(f"--name: '{folder.name}' was begun with other settings ({file}). Take another name.")
    return known


def known_storage(folder: Path) -> str | None:
    """Return the storage that a run of this folder goes on with: where it began, else what the environment says."""
    file = folder / CHECKPOINTS_FILE
    if not file.exists():
        return default_storage()
    place = file.read_text()
    return None if place == RUN_FOLDER else place.removesuffix(f"/{folder.name}")


def pin_checkpoints(folder: Path, place: str) -> None:
    """Remember where a run keeps its checkpoints: a folder or URI, or ``RUN_FOLDER``.

    Raises:
        ValueError: it began elsewhere, and would begin again here.
    """
    file = folder / CHECKPOINTS_FILE
    known = file.read_text() if file.exists() else place
    if known != place:
        raise ValueError(
            f"--storage: '{folder.name}' keeps its checkpoints at '{known}', not at '{place}'. Leave it out to go on, "
            "or take another --name."
        )
    file.write_text(place)


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


def _listener(run: Tracker, console: Console, curve: Curve, *, total_epochs: int) -> Callable[[Report], None]:
    """Return what hears the epochs: it logs and prints them, with how long the rest will take at the same pace."""
    devices: set[str] = set()

    def listen(report: Report) -> None:
        metrics = {name: value for name, value in report.items() if "/" in name}
        curve.add(report["epoch"], metrics)
        if WARNING_KEY in report:
            console.say(report[WARNING_KEY])
        run.log_metrics(metrics, step=report["epoch"])
        device = report.get(DEVICE_KEY)  # none in what an earlier release left to go on with
        if device is not None and device not in devices:
            devices.add(device)
            run.set_tags({"device": device})
        if PREVIEW_KEY in report:
            run.log_image("synthetic images", base64.b64decode(report[PREVIEW_KEY]), step=report["epoch"])
        agreement, accuracy = metrics.get("probe/agreement"), metrics.get("val/accuracy/top1")
        done = report["epoch"] + 1
        left = metrics["time/elapsed_seconds"] / done * (total_epochs - done)
        console.say(
            f"epoch {done}/{total_epochs}: agreement on the probe {percent(agreement)}, "
            f"validation accuracy {percent(accuracy)}, {metrics['time/epoch_seconds']:.1f} s"
            + (f" | about {duration(left)} left" if left else "")
        )

    return listen


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
