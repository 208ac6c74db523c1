"""How many generator steps a batch takes until the teacher is sure of it, at equal BN loss and equal diversity.

Collapsed images reach 99 % at once, so the bare number says nothing. Each variant runs the rounds of its warm-up, where
no student has a say. After every generator step are taken: the share of images that the teacher gives their label, the
BN loss, and the diversity within a class, 1 - the mean cosine of the teacher's penultimate features of two images of a
class. A variant is there at the first step with 99 %, a BN loss of at most, and a diversity of at least, the first
variant's own medians at the end of its rounds, each with ``--tolerance``. Source of the rule: our reading of the
paper's claim of efficiency (docs/method.md).

Example:
    python benchmarks/generator_steps.py search_spaces/digits_cae.yaml --seeds 0 1 2 --json generator_steps.json
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dfkd.assembly import build_distillation, choose_device
from dfkd.data import load_dataset
from dfkd.jobs.console import Console
from dfkd.jobs.environment import commit, versions
from dfkd.jobs.teacher import obtain_teacher
from dfkd.models.protocol import Backbone
from dfkd.search.experiment_file import load_experiment
from dfkd.teachers import Teacher
from dfkd.tracking.home import default_tracking_uri, open_home

SURE = 0.99
VARIANTS = {
    "CEND": "synthesis.noise.name=category_embedding",
    "noisy layer (NAYER)": "synthesis.noise={name: label_noise_layer}",
    "Gaussian latents": "synthesis.noise={name: gaussian}",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What a batch is worth after a generator step."""

    label_match: float
    batch_norm: float
    diversity: float


Round = list[Step]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a search space with `method: cae`, or its `experiment` part")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every variant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=8, help="of each variant and seed")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of BN loss and diversity, as a share")
    parser.add_argument("--home", help="keeps the teacher between calls (default: ~/.dfkd)")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    settings, _ = load_experiment(arguments.config, arguments.set)
    home = open_home(arguments.home)
    data = load_dataset(settings.dataset)
    teacher = obtain_teacher(
        settings, data, home=home, tracking_uri=default_tracking_uri(home), console=Console(sys.stderr)
    )
    runs = {
        name: [each for seed in arguments.seeds for each in rounds_of(arguments, teacher, variant, seed)]
        for name, variant in VARIANTS.items()
    }
    reference = next(iter(runs.values()))
    rows = {name: row(rounds, reference, arguments.tolerance) for name, rounds in runs.items()}
    print("| variant | 99 % at step | at equal BN loss and diversity | BN loss at the end | diversity at the end |")
    print("|---|---:|---:|---:|---:|")
    for name, facts in rows.items():
        steps = [in_words(facts[kind]) for kind in ("steps_to_sure", "steps_to_sure_and_equal")]
        print(f"| {name} | {' | '.join(steps)} | {facts['batch_norm']:.3f} | {facts['diversity']:.3f} |")
    if arguments.json:
        facts = {
            "settings": arguments.config,
            "set": arguments.set,
            "seeds": arguments.seeds,
            "rounds": arguments.rounds,
            "generator_steps": len(reference[0]),
            "tolerance": arguments.tolerance,
            "variants": rows,
            "commit": commit(),
            "versions": versions(),
            "cpu_count": os.cpu_count(),
        }
        Path(arguments.json).write_text(json.dumps(facts, indent=1) + "\n")


def rounds_of(arguments: argparse.Namespace, teacher: Teacher, variant: str, seed: int) -> list[Round]:
    """Run the warm-up of a variant and return what every step of its rounds gave."""
    changes = [variant, f"seed={seed}", "synthesis.warm_up_epochs=1", f"synthesis.warm_up_rounds={arguments.rounds}"]
    settings, _ = load_experiment(arguments.config, [*arguments.set, *changes])
    run = build_distillation(settings, teacher, device=choose_device(settings))
    synthesizer: Any = run.synthesizer
    watcher = copy.deepcopy(run.pair.teacher)  # without the hooks of the rounds
    assert isinstance(watcher, Backbone), "a teacher that shows its features"
    steps: Round = []
    plain_loss = synthesizer.inversion_loss

    def watched_loss(images: Tensor, labels: Tensor, *rest: Any, **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = plain_loss(images, labels, *rest, **options)
        with torch.no_grad():
            features = watcher.forward_features(run.domain.normalise(images))
        steps.append(Step(float(terms["label_match"]), float(terms["batch_norm"]), diversity(features, labels)))
        return loss, terms

    synthesizer.inversion_loss = watched_loss
    synthesizer.synthesize(0, 0.0)
    length = len(steps) // arguments.rounds
    return [steps[start : start + length] for start in range(0, len(steps), length)]


def diversity(features: Tensor, labels: Tensor) -> float:
    """Return 1 - the mean cosine of two different images of a class: features [B, D], labels [B].

    Classes with fewer than two images do not count, and the others count alike.
    """
    directions = functional.normalize(features, dim=1)
    values = []
    for label in labels.unique():
        own = directions[labels == label]
        if (count := len(own)) > 1:
            mean_cosine = (own.sum(dim=0).square().sum() - count) / (count * (count - 1))
            values.append(1 - float(mean_cosine))
    return statistics.fmean(values) if values else math.nan


def row(rounds: list[Round], reference: list[Round], tolerance: float) -> dict[str, float | None]:
    """Return the medians over a variant's rounds; None for steps that most rounds never reach."""
    most = (1 + tolerance) * statistics.median(each[-1].batch_norm for each in reference)
    least = (1 - tolerance) * statistics.median(each[-1].diversity for each in reference)
    sure = [first_step(each, most=math.inf, least=-math.inf) for each in rounds]
    equal = [first_step(each, most=most, least=least) for each in rounds]
    return {
        "steps_to_sure": finite(statistics.median(sure)),
        "steps_to_sure_and_equal": finite(statistics.median(equal)),
        "share_sure": statistics.fmean(math.isfinite(step) for step in sure),
        "share_sure_and_equal": statistics.fmean(math.isfinite(step) for step in equal),
        "batch_norm": statistics.median(each[-1].batch_norm for each in rounds),
        "diversity": statistics.median(each[-1].diversity for each in rounds),
    }


def first_step(steps: Round, *, most: float, least: float) -> float:
    """Return the first step, counted from 1, that is sure, within the BN loss and diverse enough; infinity if none."""
    for number, step in enumerate(steps, start=1):
        if step.label_match >= SURE and step.batch_norm <= most and step.diversity >= least:
            return number
    return math.inf


def finite(steps: float) -> float | None:
    """Return None for infinity, which JSON does not have."""
    return steps if math.isfinite(steps) else None


def in_words(steps: float | None) -> str:
    return "in under half of the rounds" if steps is None else f"{steps:g}"


if __name__ == "__main__":
    main()
