"""Your own class names, in any language: three ways to the vectors that the generator is told the classes by.

python docs/examples/own_class_names.py
"""

import torch
from handwritten_digits import IMAGE_SHAPE, MEAN, STD, accuracy, trained_network

from dfkd import (
    CategoryAwareSettings,
    DistillationSettings,
    GeneratorSettings,
    LabelEmbeddingSettings,
    SynthesisWeights,
    Teacher,
    distill_student,
)

NAMES = ["零", "eins", "два", "trois", "τέσσερα", "पाँच", "the six", "sieben", "ثمانية", "nine"]

network = trained_network()
teacher = Teacher(model=network, class_names=NAMES, image_shape=IMAGE_SHAPE, mean=MEAN, std=STD)

WAYS = {
    # No language at all: one direction a class.
    "orthogonal": LabelEmbeddingSettings(name="orthogonal", width=64),
    # Vectors that you have [K, E]. Here: what is known of the shape of each digit.
    "own vectors": torch.tensor(
        #  loops, straight strokes, open to the left, open to the right, ends below
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 1], [0, 1, 1, 0, 1], [0, 0, 1, 0, 1], [0, 3, 0, 0, 1],
         [0, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0, 2, 1, 0, 1], [2, 0, 0, 0, 0], [1, 1, 1, 0, 1]]
    ),
    # An encoder of names in many languages, a folder or a name (pip install -e '.[text]'):
    # "encoder": LabelEmbeddingSettings(name="sentence_transformers", model="/models/my-encoder"),
}  # fmt: skip

for way, label_embeddings in WAYS.items():
    result = distill_student(
        teacher,
        "digits_student",
        label_embeddings=label_embeddings,
        synthesis=CategoryAwareSettings(
            generator=GeneratorSettings(width=32),
            weights=SynthesisWeights(one_hot=1.0, batch_norm=1.0, adversarial=1.0),
            batch_size=100,
            generator_steps=30,
            warm_up_epochs=1,
            warm_up_rounds=4,
            reset_generator_every=1,
            bank_capacity=10_000,
        ),
        distillation=DistillationSettings(epochs=20, steps_per_epoch=40, batch_size=128, learning_rate=0.1),
        crop_padding=1,
        horizontal_flip=False,
    )
    print(f"{way}: student {accuracy(result.student.cpu()):.3f}, teacher {accuracy(network):.3f}")
