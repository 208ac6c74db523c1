"""One published method a file, all of them in ``SYNTHESIZERS``; ``protocol`` says what a method is."""

from __future__ import annotations

from typing import Any

import torch

from dfkd.domain import Domain
from dfkd.settings.synthesis import SynthesisSettings
from dfkd.synthesis.adadfkd import AdaDfkd
from dfkd.synthesis.cae import CategoryAware
from dfkd.synthesis.cmi import ContrastiveInversion
from dfkd.synthesis.cpnet import CPNet
from dfkd.synthesis.dafl import Dafl
from dfkd.synthesis.deep_inversion import DeepInversion
from dfkd.synthesis.dfad import Dfad
from dfkd.synthesis.dfq import Dfq
from dfkd.synthesis.fast_dfkd import FastDfkd
from dfkd.synthesis.mad import MomentumAdversarial
from dfkd.synthesis.nayer import Nayer
from dfkd.synthesis.pre_dfkd import PseudoReplay
from dfkd.synthesis.procedural import Procedural
from dfkd.synthesis.protocol import Synthesizer
from dfkd.synthesis.random_noise import RandomNoise
from dfkd.synthesis.spaceshipnet import SpaceshipNet
from dfkd.synthesis.zskt import Zskt
from dfkd.teacher_student import TeacherStudent

SYNTHESIZERS: dict[str, Any] = {
    "adadfkd": AdaDfkd,
    "cae": CategoryAware,
    "cmi": ContrastiveInversion,
    "cpnet": CPNet,
    "dafl": Dafl,
    "deep_inversion": DeepInversion,
    "dfad": Dfad,
    "dfq": Dfq,
    "fast_dfkd": FastDfkd,
    "mad": MomentumAdversarial,
    "nayer": Nayer,
    "pre_dfkd": PseudoReplay,
    "procedural": Procedural,
    "random_noise": RandomNoise,
    "spaceshipnet": SpaceshipNet,
    "zskt": Zskt,
}


def build_synthesizer(
    settings: SynthesisSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
) -> Synthesizer:
    """Return the method of the settings."""
    synthesizer: Synthesizer = SYNTHESIZERS[settings.method](settings, pair, domain, generator)
    return synthesizer
