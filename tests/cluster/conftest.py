"""For several modules: what two processes of one group find, the end of a Ray cluster, a cloud's metadata service."""

from __future__ import annotations

import copy
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd.assembly import Materials
from dfkd.settings.experiment import ExperimentSettings
from dfkd.settings.synthesis import CategoryEmbeddingNoise, ContrastSettings
from dfkd.synthesis.protocol import SyntheticBatch

NUM_CLASSES, LONG_EPOCHS = 3, 20
BATCH, SOURCES = 48, 4  # of the comparison of gradients
SCRIPT = Path(__file__).with_name("two_workers.py")


@pytest.fixture(scope="session")
def two_workers(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_settings: Callable[..., ExperimentSettings],
    tiny_materials: Materials,
) -> list[dict[str, Any]]:
    """What two worker processes found, by rank."""
    folder = tmp_path_factory.mktemp("two workers")
    double = copy.deepcopy(tiny_materials.teacher.model).double()
    variants = contrast_variants()
    plain = {"batch_size": BATCH}  # global: each worker takes half of it
    inputs = {
        "settings": tiny_settings(workers=2),
        "long settings": tiny_settings(workers=2, distillation={"epochs": LONG_EPOCHS}),
        "rare checkpoints": tiny_settings(
            workers=2,
            contrast=ContrastSettings(kind="fresh"),
            noise=CategoryEmbeddingNoise(learnable_magnitudes=True),
            distillation={"checkpoint_every": 2},
        ),
        "materials": tiny_materials,
        "teacher_in_double": dataclasses.replace(tiny_materials.teacher, model=double),
        "variants": {
            name: _without_augmentation(tiny_settings(distillation=plain, **variant))
            for name, variant in variants.items()
        },
        "batches": {name: _synthetic_batch(name) for name in variants},
    }
    torch.save(inputs, folder / "inputs.pt")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(folder)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=240)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)[-4000:]
    return [torch.load(folder / f"results-{rank}.pt", weights_only=False) for rank in range(2)]


def _without_augmentation(settings: ExperimentSettings) -> ExperimentSettings:
    """Leave the images as they are: every worker would draw another crop."""
    return dataclasses.replace(
        settings, dataset=dataclasses.replace(settings.dataset, crop_padding=0, horizontal_flip=False)
    )


def contrast_variants() -> dict[str, dict[str, Any]]:
    kinds = ("none", "bank", "fresh", "supervised", "simclr")
    variants: dict[str, dict[str, Any]] = {kind: {"contrast": ContrastSettings(kind=kind)} for kind in kinds}
    variants["only matching"] = {"contrast": ContrastSettings(kind="bank", only_matching=True)}
    variants["few usable anchors"] = {"contrast": ContrastSettings(kind="bank")}
    return variants


def _synthetic_batch(variant: str) -> SyntheticBatch:
    random = torch.Generator().manual_seed(7)
    images = torch.rand(BATCH, 1, 8, 8, generator=random, dtype=torch.float64)
    labels = torch.randint(0, NUM_CLASSES, (BATCH,), generator=random)
    sources = torch.randint(0, SOURCES, (BATCH,), generator=random)
    if variant == "few usable anchors":  # the second worker has none but negatives: a class from one source alone
        labels[BATCH // 4 : BATCH // 2], labels[3 * BATCH // 4 :] = 2, 2
        labels[: BATCH // 4] %= 2
        labels[BATCH // 2 : 3 * BATCH // 4] %= 2
        sources[labels == 2] = 0
    if variant == "simclr":
        images, labels, sources = (value[::2].repeat_interleave(2, 0) for value in (images, labels, sources))
    return SyntheticBatch(images=images, labels=labels, sources=sources)


@pytest.fixture
def end_ray() -> Callable[[list[subprocess.Popen[bytes]], str], None]:
    """Ends nodes of `ray start --block`, and then whatever still runs in the cluster's own folder."""
    return _end_ray


def _end_ray(nodes: list[subprocess.Popen[bytes]], folder: str, *, timeout_seconds: float = 60) -> None:
    try:
        for node in nodes:
            node.send_signal(signal.SIGTERM)  # `--block` stops all that it started
            try:
                node.wait(timeout=timeout_seconds)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
    finally:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if folder in (process / "cmdline").read_text():
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue


class StandInMetadata(ThreadingHTTPServer):
    """AWS's metadata service as far as a spot notice goes: no answer without a token, 404 without a notice."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MetadataRequest)
        self.notice: str | None = None
        self.tokens: list[str] = []  # all that were given out; the newest alone is taken
        self.reads = 0
        self.grants_tokens = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _MetadataRequest(BaseHTTPRequestHandler):
    server: StandInMetadata

    def do_PUT(self) -> None:  # noqa: N802
        seconds = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", 0))
        if not self.server.grants_tokens:
            return self.answer(404, "Not Found")
        if self.path != "/latest/api/token" or not 1 <= seconds <= 21600:
            return self.answer(400, "")
        self.server.tokens.append(f"token-{len(self.server.tokens)}")
        return self.answer(200, self.server.tokens[-1])

    def do_GET(self) -> None:  # noqa: N802
        self.server.reads += 1
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens[-1:]:
            return self.answer(401, "Unauthorized")
        if self.path != "/latest/meta-data/spot/instance-action" or self.server.notice is None:
            return self.answer(404, "Not Found")
        return self.answer(200, self.server.notice)

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[StandInMetadata]:
    """A stand-in for the cloud's metadata service; set its ``notice`` to take the machine back."""
    with StandInMetadata() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield service
        service.shutdown()
        thread.join()
