"""One published method a file, all of them in ``SYNTHESIZERS``; ``protocol`` says what a method is."""

from __future__ import annotations

from typing import Any

import torch

from dfkd.domain import Domain
from dfkd.settings.synthesis import SynthesisSettings
from dfkd.synthesis.cae import CategoryAware
from dfkd.synthesis.protocol import Synthesizer
from dfkd.synthesis.random_noise import RandomNoise
from dfkd.teacher_student import TeacherStudent

#: How tables call a method.
METHOD_TITLES = {"cae": "CAE-DFKD (our reading)", "random_noise": "KD on random noise"}

SYNTHESIZERS: dict[str, Any] = {"cae": CategoryAware, "random_noise": RandomNoise}


def build_synthesizer(
    settings: SynthesisSettings, pair: TeacherStudent, domain: Domain, generator: torch.Generator
) -> Synthesizer:
    """Return the method of the settings."""
    synthesizer: Synthesizer = SYNTHESIZERS[settings.method](settings, pair, domain, generator)
    return synthesizer
