"""Settings of the methods: one a file, named as in ``dfkd.synthesis``; ``method`` and ``parts`` hold what they share.

A new method is one member of ``SynthesisSettings``. A YAML file chooses it by ``synthesis.method``.
"""

from dfkd.settings.synthesis.adadfkd import AdaDfkdSettings, RelationSettings, RelationWeights
from dfkd.settings.synthesis.cae import CONTRAST_KINDS, CategoryAwareSettings, ContrastSettings
from dfkd.settings.synthesis.cmi import ContrastiveInversionSettings, InstanceContrastSettings
from dfkd.settings.synthesis.cpnet import CPNetSettings, CPNetWeights
from dfkd.settings.synthesis.dafl import DaflSettings, DaflWeights
from dfkd.settings.synthesis.deep_inversion import DeepInversionSettings, DeepInversionWeights
from dfkd.settings.synthesis.dfad import DfadSettings
from dfkd.settings.synthesis.dfq import DfqSettings, DfqWeights
from dfkd.settings.synthesis.fast_dfkd import FastSettings
from dfkd.settings.synthesis.image_crops import ImageCropsSettings
from dfkd.settings.synthesis.mad import MadSettings, MadWeights
from dfkd.settings.synthesis.method import BankedSettings, MethodSettings, OnlineSettings, RoundsSettings
from dfkd.settings.synthesis.nayer import NayerSettings
from dfkd.settings.synthesis.parts import (
    NOISE_SOURCE_NAMES,
    STANDARD_NOISE_SOURCES,
    STRUCTURED_NOISE_SOURCES,
    CategoryEmbeddingNoise,
    GaussianNoise,
    GeneratorSettings,
    LabelNoiseLayer,
    NoiseSettings,
    SynthesisWeights,
)
from dfkd.settings.synthesis.pre_dfkd import GenerativeMemorySettings, PreDfkdSettings, ReplayWeights
from dfkd.settings.synthesis.procedural import ProceduralSettings
from dfkd.settings.synthesis.public_images import PublicImagesSettings
from dfkd.settings.synthesis.random_noise import RandomNoiseSettings
from dfkd.settings.synthesis.real_images import RealImagesSettings
from dfkd.settings.synthesis.spaceshipnet import SpaceshipNetSettings, SpaceshipNetWeights
from dfkd.settings.synthesis.stored_images import StoredImagesSettings
from dfkd.settings.synthesis.zskt import ZsktSettings

#: The bounds and plain baselines beside the methods.
BaselineSettings = (
    RandomNoiseSettings | ProceduralSettings | RealImagesSettings | PublicImagesSettings | ImageCropsSettings
)
SynthesisSettings = (
    CategoryAwareSettings
    | AdaDfkdSettings
    | ContrastiveInversionSettings
    | CPNetSettings
    | DaflSettings
    | DeepInversionSettings
    | DfadSettings
    | DfqSettings
    | FastSettings
    | MadSettings
    | NayerSettings
    | PreDfkdSettings
    | SpaceshipNetSettings
    | ZsktSettings
    | BaselineSettings
)

__all__ = [
    "AdaDfkdSettings",
    "BankedSettings",
    "BaselineSettings",
    "CONTRAST_KINDS",
    "CPNetSettings",
    "CPNetWeights",
    "CategoryAwareSettings",
    "CategoryEmbeddingNoise",
    "ContrastSettings",
    "ContrastiveInversionSettings",
    "DaflSettings",
    "DaflWeights",
    "DeepInversionSettings",
    "DeepInversionWeights",
    "DfadSettings",
    "DfqSettings",
    "DfqWeights",
    "FastSettings",
    "GaussianNoise",
    "GenerativeMemorySettings",
    "GeneratorSettings",
    "ImageCropsSettings",
    "InstanceContrastSettings",
    "LabelNoiseLayer",
    "MadSettings",
    "MadWeights",
    "MethodSettings",
    "NOISE_SOURCE_NAMES",
    "NayerSettings",
    "NoiseSettings",
    "OnlineSettings",
    "PreDfkdSettings",
    "ProceduralSettings",
    "PublicImagesSettings",
    "RandomNoiseSettings",
    "RealImagesSettings",
    "RelationSettings",
    "RelationWeights",
    "ReplayWeights",
    "RoundsSettings",
    "STANDARD_NOISE_SOURCES",
    "STRUCTURED_NOISE_SOURCES",
    "SpaceshipNetSettings",
    "SpaceshipNetWeights",
    "StoredImagesSettings",
    "SynthesisSettings",
    "SynthesisWeights",
    "ZsktSettings",
]
