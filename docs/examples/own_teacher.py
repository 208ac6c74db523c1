"""Your own teacher, any ``nn.Module`` that maps images to logits, distilled on plain PyTorch.

python docs/examples/own_teacher.py            some minutes on two CPU cores
python docs/examples/own_teacher.py 1          one epoch: does it run?
"""

import torch
from handwritten_digits import IMAGE_SHAPE, MEAN, STD, accuracy, trained_network

from dfkd import (
    CategoryAwareSettings,
    DistillationSettings,
    GeneratorSettings,
    SynthesisWeights,
    Teacher,
    distill_student,
    png_grid,
)

# The teacher, and what it takes and gives. Its training images are not needed any more.
network = trained_network()
teacher = Teacher(model=network, class_names=[str(digit) for digit in range(10)], image_shape=IMAGE_SHAPE,
                  mean=MEAN, std=STD)  # fmt: skip

# The student: a network of the package by name, or an untrained nn.Module of yours.
result = distill_student(
    teacher,
    "digits_student",
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
    horizontal_flip=False,  # a mirrored digit is another one, or none
    on_epoch=lambda report: print(f"epoch {report.epoch}: {report.metrics}"),
)

# The student takes what the teacher takes. Only here, to see how good it is, do labels count.
print(f"teacher {accuracy(network):.3f}, student {accuracy(result.student.cpu()):.3f}")
torch.save(result.student.state_dict(), "student.pt")
with open("synthetic_images.png", "wb") as file:
    file.write(png_grid(result.history[-1].preview))
