"""Named schedules: values that stand under a config's own. A published method's own ones stand in its settings file."""

from __future__ import annotations

from typing import Any

from dfkd.settings.synthesis import (
    adadfkd,
    cae,
    cmi,
    cpnet,
    dafl,
    deep_inversion,
    dfad,
    dfq,
    fast_dfkd,
    image_crops,
    mad,
    nayer,
    pre_dfkd,
    spaceshipnet,
    zskt,
)

Schedule = dict[str, dict[str, Any]]  # "synthesis" and "distillation"

#: NAYER's public schedules for 32x32 images, but for the generator's steps and the student's epochs.
_NAYER: Schedule = {
    "synthesis": {"warm_up_epochs": 20, "warm_up_rounds": 10, "rounds_per_epoch": 2, "batch_size": 400},
    # A checkpoint holds the bank, up to 154 MB of 32x32 images: one in ten epochs.
    "distillation": {"steps_per_epoch": 400, "batch_size": 512, "checkpoint_every": 10},
}


def _nayer(*, epochs: int, generator_steps: int) -> Schedule:
    """Return NAYER's public schedule for 32x32 images with this many epochs, and generator steps a round."""
    return {
        "synthesis": _NAYER["synthesis"] | {"generator_steps": generator_steps},
        "distillation": _NAYER["distillation"] | {"epochs": epochs},
    }


#: Values that stand under a config's own, for any method with a bank. ``nayer_*`` follow NAYER's public schedule for
#: CIFAR-10; ``cpu_*`` are ours, sized for two cores.
_GENERAL: dict[str, Schedule] = {
    "nayer_100": _nayer(epochs=100, generator_steps=30),
    "nayer_300": _nayer(epochs=300, generator_steps=30),
    "cpu_small": {
        "synthesis": {
            "warm_up_epochs": 1,
            "warm_up_rounds": 8,
            "rounds_per_epoch": 2,
            "generator_steps": 30,
            "batch_size": 100,
            "reset_generator_every": 1,
            "bank_capacity": 30_000,
            "generator": {"width": 32},
            "weights": {"one_hot": 1.0, "batch_norm": 1.0, "adversarial": 1.0},
        },
        "distillation": {
            "epochs": 24,
            "steps_per_epoch": 200,
            "batch_size": 128,
            "learning_rate": 0.1,
            "checkpoint_every": 5,
        },
    },
}

#: Every schedule by name. One that names a ``synthesis.method`` is that method's preset, and of no other.
SCHEDULES: dict[str, Schedule] = {
    **_GENERAL,
    **adadfkd.PRESETS,
    **cae.PRESETS,
    **cmi.PRESETS,
    **cpnet.PRESETS,
    **dafl.PRESETS,
    **deep_inversion.PRESETS,
    **dfad.PRESETS,
    **dfq.PRESETS,
    **fast_dfkd.PRESETS,
    **image_crops.PRESETS,
    **mad.PRESETS,
    **nayer.PRESETS,
    **pre_dfkd.PRESETS,
    **spaceshipnet.PRESETS,
    **zskt.PRESETS,
}
