"""Named schedules: values that stand under a config's own. A published method's own ones stand in its settings file."""

from __future__ import annotations

from typing import Any

from dfkd.settings.synthesis import (
    adadfkd,
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

#: Named schedules: values that stand under a config's own. ``nayer_*`` follow NAYER's public CIFAR-10 schedule
#: (CIFAR-100: generator_steps 40; Tiny-ImageNet: 60, with 1000 steps of 256); ``cpu_*`` are ours, sized for two cores.
_GENERAL: dict[str, Schedule] = {
    "nayer_100": {
        "synthesis": {
            "warm_up_epochs": 20,
            "warm_up_rounds": 10,
            "rounds_per_epoch": 2,
            "generator_steps": 30,
            "batch_size": 400,
        },
        "distillation": {"epochs": 100, "steps_per_epoch": 400, "batch_size": 512},
    },
    "nayer_300": {
        "synthesis": {
            "warm_up_epochs": 20,
            "warm_up_rounds": 10,
            "rounds_per_epoch": 2,
            "generator_steps": 30,
            "batch_size": 400,
        },
        "distillation": {"epochs": 300, "steps_per_epoch": 400, "batch_size": 512},
    },
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

#: Every schedule by name. One that names a ``synthesis.method`` is that method's published preset.
SCHEDULES: dict[str, Schedule] = {
    **_GENERAL,
    **adadfkd.PRESETS,
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
