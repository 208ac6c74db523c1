"""A trained network as files for other programs: torch.export, ONNX, ONNX in int8, and the Python that runs them."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfkd.compression import num_bytes
from dfkd.data import ImageSet, load_dataset
from dfkd.export import OnnxNetwork, quantise_file, require_onnx, snippet, write_onnx
from dfkd.jobs.console import Console, percent
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.evaluate import split_of
from dfkd.jobs.export_options import ExportOptions
from dfkd.jobs.probe_cache import known_probe_set, obtain_probe_set
from dfkd.jobs.teacher import description_of
from dfkd.probe_set import ProbeSet
from dfkd.settings.experiment import ExperimentSettings
from dfkd.tasks.accuracy import top1
from dfkd.tasks.cost import answer_milliseconds
from dfkd.tasks.protocol import predict_logits
from dfkd.teachers import Teacher
from dfkd.teachers.backbone import load_backbone
from dfkd.teachers.exported import read_exported
from dfkd.teachers.loading import REGISTRY
from dfkd.teachers.teacher import check_classes
from dfkd.tracking.connection import check_reachable
from dfkd.tracking.home import open_home, resolve_tracking_uri
from dfkd.tracking.model_package import ImageClassifier, export_program, image_classifier
from dfkd.tracking.registry_reading import load_registered, version_tags

TOLERANCE = 1e-4  # of a logit, or of the largest logit where that is above 1
FEWEST_EQUAL_ANSWERS = 0.95  # of int8 with the original, before the export warns
BATCHES = (1, 3, 64)  # sizes that the files are tried with
CALIBRATION_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFile:
    """One form of a network.

    Attributes:
        file: its name; None for the original.
        megabytes: of the file; of the original, of its weights.
        milliseconds: for the answer to one image, on this machine.
        largest_difference: of a logit from the original's.
        agreement: share of images that get the original's answer, by kind of image.
        accuracy: on given images with labels; None without.
    """

    file: str | None
    megabytes: float
    milliseconds: float
    largest_difference: float
    agreement: dict[str, float]
    accuracy: float | None


def run_export(options: ExportOptions, settings: ExperimentSettings | None, console: Console) -> list[ExportedFile]:
    """Write all forms of a network into a folder, hold them against the original, and print what they are.

    Args:
        options: which network, and where to.
        settings: of a config whose real images the files are tried on; None tries them on synthetic images alone.
        console: what a person reads.

    Raises:
        ValueError: the network cannot be had or exported, its data do not fit, packages are missing, or a float32
            file's answers are not the original's.
        ConnectionError: MLflow is needed and does not answer.
    """
    require_onnx("export")
    home = open_home(options.home)
    tracking_uri = resolve_tracking_uri(options.tracking_uri, home=home)
    if options.model.startswith(REGISTRY):
        check_reachable(tracking_uri)
    network = load_backbone(options.model, registry=partial(load_registered, tracking_uri=tracking_uri))
    given = None if settings is None else _given_images(settings, options.split, network)
    probe, origin = _synthetic_images(network, options.model, home=home, tracking_uri=tracking_uri)
    console.say(f"export: {network.provenance}: {network.architecture}; synthetic images: {origin}")
    folder = Path(options.output).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    trial = _Trial(image_classifier(network.model, description_of(network)), probe.images, given)
    files = [trial.judge(None, trial.original, num_bytes(network.model))]
    forms = _write(folder, trial.original, network, trial.calibration if options.int8 else None)
    files += [trial.judge(file, form, file.stat().st_size) for file, form in forms.items()]
    for found in files:
        if found.file and not found.file.endswith("int8.onnx"):
            trial.require_same(found)
    _write_words(folder, network, options, files, origin)
    _show(console, folder, files, len(trial.held_out), given)
    return files


class _Trial:
    """The images that all forms of one network see: the first half of the synthetic ones calibrates int8.

    Args:
        original: images in [0, 1] -> logits.
        synthetic: uint8 [N, C, H, W].
        given: real images; None without.
    """

    def __init__(self, original: ImageClassifier, synthetic: Tensor, given: ImageSet | None) -> None:
        self.original, self._given = original, given
        order = torch.randperm(len(synthetic), generator=torch.Generator().manual_seed(0))
        self.calibration, self.held_out = synthetic[order].tensor_split(2)
        self._images = {"synthetic": self.held_out} | ({} if given is None else {"given": given.images})
        self._expected = {kind: _logits(original, images) for kind, images in self._images.items()}
        self._scale = max(1.0, *(float(logits.abs().max()) for logits in self._expected.values()))

    def judge(self, file: Path | None, form: nn.Module, size: int) -> ExportedFile:
        """Return what a form is like beside the original."""
        difference, agreement, accuracy = 0.0, {}, None
        for kind, images in self._images.items():
            expected, found = self._expected[kind], _logits(form, images)
            for batch_size in BATCHES:
                with torch.inference_mode():
                    several = form(images[:batch_size].float() / 255)
                difference = max(difference, float((several - expected[:batch_size]).abs().max()))
            difference = max(difference, float((found - expected).abs().max()))
            agreement[kind] = float((found.argmax(dim=1) == expected.argmax(dim=1)).double().mean())
            if kind == "given" and self._given is not None and self._given.labels is not None:
                accuracy = top1(found, self._given.labels)
        return ExportedFile(
            file=None if file is None else file.name,
            megabytes=size / 1e6,
            milliseconds=answer_milliseconds(form, self.held_out[:1].float() / 255),
            largest_difference=difference,
            agreement=agreement,
            accuracy=accuracy,
        )

    def require_same(self, found: ExportedFile) -> None:
        """Raise ValueError unless a float32 form computes what the original does."""
        if not found.largest_difference <= TOLERANCE * self._scale:
            raise ValueError(
                f"export: {found.file} differs from the network by {found.largest_difference:g} in a logit (largest "
                f"logit: {self._scale:g}); at most {TOLERANCE:g} of it is allowed. Do not ship it."
            )


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    return predict_logits(network, images, normalise=lambda pixels: pixels, device="cpu")


def _given_images(settings: ExperimentSettings, split: str, network: Teacher) -> ImageSet:
    data = load_dataset(settings.dataset)
    check_classes(network.class_names, data.class_names)
    if data.image_shape != network.image_shape:
        raise ValueError(
            f"dataset: its images are {list(data.image_shape)} (C, H, W), the network takes "
            f"{list(network.image_shape)}. Set dataset.image_size and dataset.channels."
        )
    return split_of(data, split)


def _synthetic_images(network: Teacher, model: str, *, home: Path, tracking_uri: str) -> tuple[ProbeSet, str]:
    """Return the probe set of the network's teacher where this home knows it, else one made from the network itself."""
    tags = version_tags(model, tracking_uri=tracking_uri) if model.startswith(REGISTRY) else {}
    known = known_probe_set(tags["teacher_hash"], home) if "teacher_hash" in tags else None
    if known is not None:
        return known, f"the probe set of the teacher {tags['teacher_hash'][:16]}"
    return obtain_probe_set(network, home), "a probe set made from the network itself"


def _write(
    folder: Path, classifier: ImageClassifier, network: Teacher, calibration: Tensor | None
) -> dict[Path, nn.Module]:
    """Write the files, and return each as read back."""
    pt2, onnx, rounded = (folder / name for name in ("model.pt2", "model.onnx", "model.int8.onnx"))
    program = export_program(classifier, description_of(network))
    with warnings.catch_warnings():
        # torch 2.14 warns of weights that share storage; the file is loaded and compared below.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, pt2)
    write_onnx(classifier, onnx, example=torch.full((2, *network.image_shape), 0.5))
    forms: dict[Path, nn.Module] = {
        pt2: read_exported(pt2, trust_pickle=False),
        onnx: OnnxNetwork(onnx.read_bytes()),
    }
    rounded.unlink(missing_ok=True)
    if calibration is not None:
        quantise_file(onnx, rounded, (batch.float() / 255 for batch in calibration.split(CALIBRATION_BATCH)))
        forms[rounded] = OnnxNetwork(rounded.read_bytes())
    return forms


def _write_words(
    folder: Path, network: Teacher, options: ExportOptions, files: list[ExportedFile], origin: str
) -> None:
    """Write the snippet, and what is known of the files for other programs."""
    text = snippet(
        title=title_of(options.model),
        source=network.provenance,
        class_names=network.class_names,
        image_shape=network.image_shape,
        int8=options.int8,
    )
    (folder / "predict.py").write_text(text, encoding="utf-8")
    facts: dict[str, Any] = {
        "model": network.provenance,
        "architecture": network.architecture,
        "class_names": list(network.class_names),
        "input": {"name": "images", "shape": ["batch", *network.image_shape], "type": "float32", "range": [0, 1]},
        "output": {"name": "logits", "shape": ["batch", len(network.class_names)]},
        "hash": network.hash,
        "synthetic_images": origin,
        "files": [asdict(found) for found in files],
        "commit": commit(),
        "versions": versions(),
    }
    (folder / "export.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def title_of(model: str) -> str:
    """Return the registered model's name, or the file's without its suffix."""
    if model.startswith(REGISTRY):
        return model.removeprefix(REGISTRY).partition("@")[0].partition("/")[0]
    return Path(model).stem


def _show(
    console: Console, folder: Path, files: list[ExportedFile], num_synthetic: int, given: ImageSet | None
) -> None:
    seen = f"{num_synthetic} synthetic images" + ("" if given is None else f", {len(given):,} given images")
    console.show(f"{folder}: judged on {seen}")
    for found in files:
        agreement = ", ".join(f"{percent(share)} {kind}" for kind, share in found.agreement.items())
        accuracy = "" if found.accuracy is None else f", accuracy {percent(found.accuracy)}"
        console.show(
            f"  {found.file or 'the original':<16} {found.megabytes:8.3f} MB {found.milliseconds:8.2f} ms an image, "
            f"agreement {agreement}{accuracy}, largest difference {found.largest_difference:.1e}"
        )
        if min(found.agreement.values()) < FEWEST_EQUAL_ANSWERS:
            console.show(f"  note     {found.file} changes too many answers; ship model.onnx")
    console.show(f"  try it:  python {folder / 'predict.py'} <image>")
