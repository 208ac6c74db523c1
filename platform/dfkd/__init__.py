"""Data-free knowledge distillation (DFKD): a student from a teacher whose training data may not be used.

The map, in reading order. **Imports point up this page**: a block may use the blocks above it, never those below.

====================  =========================================================================================
SETTINGS              standard library only: checked before torch, Ray or MLflow are imported
``settings``          every setting of every part as a frozen dataclass, with its default and the default's source
METHOD                torch only. No file, no Ray, no MLflow, no real image
``domain``            ``Domain``: all that the method may know of the real data
``teacher_student``   ``TeacherStudent``: the pair; the teacher frozen and in evaluation mode
``image_bank``        ``ImageBank``: bounded store of synthetic images with label and noise source
``folding``           BatchNorm folded into convolutions, for a teacher that nobody looks into
``compilation``       a frozen network's pass through torch.compile
``feature_maps``      what a network computes on the way, one map for every resolution
``augmentation``      random crop and flip of a batch, on its device
``initialisation``    seeded re-initialisation of layers, in place
``layer_random``      what layers such as dropout draw from, as part of a run's state
``stopwatch``         how long a device is busy with each part of an epoch
``noise``             what a generator is fed: Gaussian latents, NAYER's noisy layer, CEND
``generators``        latents -> images in [0, 1]
``losses``            tensors -> scalar, pure: KD, inversion, adversarial, contrastive (CNCL)
``models``            teacher and student networks of the field's benchmark pairs
``synthesis``         one published method a file; ``protocol`` says what a method is
``distillation``      ``Distillation`` (the state) and ``distill()`` (the loop)
``probe_set``         synthetic exam of a teacher, for data-free selection
EXPERIMENT            what to run, on which real data, judged how
``data``              real images, for teachers and for reports only
``baselines``         KD on real images, beside the methods: the ceiling, public images, crops of one image
``label_embeddings``  class names -> vectors
``supervised``        how a teacher is made
``teachers``          where a teacher comes from: trained here, a file, torchvision, timm, the registry
``export``            networks in files that other programs run: ONNX, int8                (onnx, onnxruntime)
``compression``       the teacher itself made smaller: pruned, quantised
``tasks``             what a student is judged by
``preview``           synthetic images as a PNG grid
``config``            YAML -> settings: strict, typed, with "did you mean"
``assembly``          settings -> live objects; the one module that knows every table
``interface``         use from Python: ``distill_student`` and what goes with it
``comparison``        methods side by side: counted cost, budgets, statistics, leaderboard
OUTSIDE WORLD         each library in one folder
``search``            search space YAML -> Optuna distributions, honest selection             (optuna)
``tracking``          runs, images and the registry of students                        (mlflow)
``cluster``           worker, Ray Train trainer, Ray Tune tuner, checkpoints            (ray)
JOBS                  what the commands do, over all of the above; ``experiments/`` parses, calls and prints
``jobs``              search, distil, evaluate: the way through, the console, the last screen
====================  =========================================================================================

A newcomer's way from the command to the loss: ``experiments/search.py`` -> ``jobs.search`` -> ``cluster.trial`` ->
``cluster.worker`` -> ``distillation``; ``experiments/distill.py`` leaves Ray Tune out.

Shape letters, everywhere the same: B batch, C channels, H height, W width, K classes, D features, Z latent width,
N noise sources, E label-embedding width.

From Python, ``from dfkd import ...`` gives the names in ``PUBLIC``, each loaded when it is first asked for: importing
the package itself imports nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Public name -> module that defines it.
PUBLIC = {
    "Backbone": "dfkd.models.protocol",
    "BatchNormStatistics": "dfkd.losses.inversion",
    "CategoryAwareSettings": "dfkd.settings.synthesis",
    "Decay": "dfkd.settings.decay",
    "DistillationSettings": "dfkd.settings.distillation",
    "DistilledStudent": "dfkd.interface",
    "EpochReport": "dfkd.distillation",
    "GeneratorSettings": "dfkd.settings.synthesis",
    "LabelEmbeddingSettings": "dfkd.settings.experiment",
    "Online": "dfkd.synthesis.online",
    "OnlineSettings": "dfkd.settings.synthesis",
    "SYNTHESIZERS": "dfkd.synthesis",
    "SynthesisWeights": "dfkd.settings.synthesis",
    "Teacher": "dfkd.teachers",
    "build_network": "dfkd.teachers",
    "distill_student": "dfkd.interface",
    "distributions": "dfkd.search.optuna_space",
    "load_search_space": "dfkd.search.space",
    "make_sampler": "dfkd.search.optuna_space",
    "one_hot_loss": "dfkd.losses.inversion",
    "png_grid": "dfkd.preview",
    "probe_set_of": "dfkd.interface",
    "score_student": "dfkd.interface",
}


def __getattr__(name: str) -> Any:
    """Load a public name (PEP 562)."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'dfkd' has no attribute '{name}'")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
