"""Tiny networks, a tiny domain and a tiny experiment: 8x8 images of one channel, some thousand parameters, a CPU.

And a PostgreSQL, for those who need a real one.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd.assembly import Materials
from dfkd.data.image_set import ImageSet
from dfkd.domain import Domain
from dfkd.models import build_model
from dfkd.probe_set import ProbeSet
from dfkd.settings.distillation import DistillationSettings
from dfkd.settings.experiment import (
    DatasetSettings,
    ExperimentSettings,
    LabelEmbeddingSettings,
    StudentSettings,
    TeacherSettings,
)
from dfkd.settings.synthesis import CategoryAwareSettings, GeneratorSettings
from dfkd.teachers import Teacher

# A shell that starts the tests in the background has them ignore interrupts, and every command that they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

PROCESSES = 2  # of a plain `pytest`: they need a core and about 3 GiB each; a third has Ray time out on two cores


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the ring that needs no option in several processes; named tests and other rings in one, and alone."""
    plain = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return PROCESSES if plain and config.getoption("markexpr").startswith("not slow") else 0


IMAGE_SHAPE, CLASSES = (1, 8, 8), ("cat", "dog", "eel")


class TinyNetwork(nn.Module):
    """Two convolutions and a Linear layer, with or without BatchNorm."""

    def __init__(self, width: int, num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.feature_width = width
        layers: list[nn.Module] = []
        for before, stride in ((1, 1), (width, 2)):
            layers.append(nn.Conv2d(before, width, 3, padding=1, stride=stride))
            layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features)
        return logits


@pytest.fixture
def tiny_network() -> Callable[..., TinyNetwork]:
    """Make a network whose weights depend on its seed alone."""

    def make(seed: int = 0, *, width: int = 8, num_classes: int = 10, batch_norm: bool = True) -> TinyNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyNetwork(width, num_classes, batch_norm)

    return make


@pytest.fixture
def tiny_domain() -> Callable[..., Domain]:
    """Make a domain of 8x8 images of one channel."""

    def make(num_classes: int = 10, crop_padding: int = 1) -> Domain:
        return Domain(
            channels=1,
            height=8,
            width=8,
            mean=(0.3,),
            std=(0.25,),
            class_names=tuple(f"class {index}" for index in range(num_classes)),
            label_embeddings=torch.randn(num_classes, 24, generator=torch.Generator().manual_seed(0)),
            crop_padding=crop_padding,
        )

    return make


@pytest.fixture(scope="session")
def tiny_teacher() -> Teacher:
    """Three classes; never trained, but with BatchNorm statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model("digits_student", num_classes=len(CLASSES), in_channels=1)
        with torch.no_grad():
            model.train()(torch.randn(64, *IMAGE_SHAPE))
    return Teacher(
        model=model.eval(),
        architecture="digits_student",
        class_names=CLASSES,
        image_shape=IMAGE_SHAPE,
        mean=(0.3,),
        std=(0.4,),
        provenance="made in a test",
    )


@pytest.fixture(scope="session")
def tiny_materials(tiny_teacher: Teacher) -> Materials:
    """Random images as probe and validation set."""
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 30, *IMAGE_SHAPE), generator=random, dtype=torch.uint8)
    with torch.no_grad():
        logits = tiny_teacher.model(tiny_teacher.normalise(images[0].float() / 255))
    labels = torch.randint(0, len(CLASSES), (30,), generator=random)
    return Materials(
        teacher=tiny_teacher,
        probe=ProbeSet(images=images[0], teacher_logits=logits),
        validation=ImageSet(images[1], labels),
    )


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[..., ExperimentSettings]:
    """Make the settings of the tiny experiment; keywords are those of its synthesis, or of its distillation."""

    def make(
        *, seed: int = 0, workers: int = 1, distillation: dict[str, Any] | None = None, **synthesis: Any
    ) -> ExperimentSettings:
        small = {"batch_size": 24, "generator_steps": 2, "bank_capacity": 60, "reset_generator_every": 2}
        small |= {"warm_up_epochs": 1, "warm_up_rounds": 2, "rounds_per_epoch": 1}
        steps = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 16}
        return ExperimentSettings(
            seed=seed,
            dataset=DatasetSettings(name="digits", crop_padding=1, horizontal_flip=True),
            teacher=TeacherSettings(architecture="digits_student"),
            student=StudentSettings(architecture="digits_student"),
            label_embeddings=LabelEmbeddingSettings(name="orthogonal", width=12),
            synthesis=CategoryAwareSettings(generator=GeneratorSettings(width=8), **(small | synthesis)),
            distillation=DistillationSettings(**(steps | (distillation or {}))),
            workers=workers,
            device="cpu",
        )

    return make


@dataclass(frozen=True)
class Postgresql:
    """A PostgreSQL of one test alone: a folder, a socket in it, no port, and the role postgres without a password.

    Attributes:
        folder: its data, its log and its socket; for clients, the host.
        programs: where PostgreSQL's programs are.
        account: under which they run: PostgreSQL refuses to be root.
    """

    folder: str
    programs: Path
    account: str | None

    @property
    def uri(self) -> str:
        """The database postgres, as SQLAlchemy names it."""
        return f"postgresql+psycopg2://postgres@/postgres?host={self.folder}"

    def initialise(self) -> None:
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "--options", options, "--log", f"{self.folder}/log", "--wait", "start")

    def stop(self) -> None:
        """End it as `systemctl stop` does: what clients have under way is rolled back, and they are told."""
        self._run("pg_ctl", "--mode=fast", "--wait", "stop")

    def crash(self) -> None:
        """End it at once, as with its machine: what clients have under way gets no answer."""
        self._run("pg_ctl", "--mode=immediate", "--wait", "stop")

    def _run(self, program: str, *options: str) -> None:
        command = [self.programs / program, "--pgdata", f"{self.folder}/data", *options]
        subprocess.run(command, user=self.account, cwd=self.folder, stdout=subprocess.DEVNULL, check=True, timeout=120)


@pytest.fixture
def postgresql() -> Iterator[Postgresql]:
    """A server that runs."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ["PATH"].split(os.pathsep))]
    programs = next((each for each in folders if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)
    if programs is None or shutil.which("psql") is None or shutil.which("createdb") is None:
        pytest.skip("PostgreSQL is not installed")
    account = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="dfkd-", dir="/tmp") as folder:  # a socket's path must be short
        if account:
            shutil.chown(folder, account)
        server = Postgresql(folder, programs, account)
        server.initialise()
        try:
            server.start()
            yield server
        finally:
            if Path(folder, "data", "postmaster.pid").exists():
                server.crash()
