"""Your own search space: a YAML file, the same for ``experiments/search.py`` and, as here, for a loop of your own.

The command adds what a loop has not: Ray, MLflow, resuming, a noise floor, the registry.

python docs/examples/own_search_space.py
"""

from pathlib import Path

import optuna
from handwritten_digits import IMAGE_SHAPE, MEAN, STD, accuracy, trained_network

from dfkd import (
    Teacher,
    distill_student,
    distributions,
    load_search_space,
    make_sampler,
    probe_set_of,
    score_student,
)

space = load_search_space(Path(__file__).with_name("own_search_space.yaml"))
network = trained_network()
teacher = Teacher(model=network, class_names=[str(digit) for digit in range(10)], image_shape=IMAGE_SHAPE,
                  mean=MEAN, std=STD)  # fmt: skip
probe = probe_set_of(teacher)  # the exam: made from the teacher, never trained on

optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(direction="maximize", sampler=make_sampler(space.settings.sampler))
study.enqueue_trial(space.defaults())
students = {}
for _ in range(space.settings.trials):
    trial = study.ask(distributions(space))
    settings = space.resolve(trial.params)  # checked as a config is
    result = distill_student(
        teacher,
        settings.student.network,
        synthesis=settings.synthesis,
        distillation=settings.distillation,
        label_embeddings=settings.label_embeddings,
        crop_padding=settings.dataset.crop_padding,
        horizontal_flip=settings.dataset.horizontal_flip,
        seed=settings.seed,
    )
    students[trial.number] = result.student.cpu()
    agreement = score_student(students[trial.number], teacher, probe)["probe/agreement"]
    study.tell(trial, agreement)
    print(f"trial {trial.number}: agreement {agreement:.3f}, {trial.params}")

best = study.best_trial
print(f"chosen without data: trial {best.number}, {best.params}")
print(f"teacher {accuracy(network):.3f}, chosen student {accuracy(students[best.number]):.3f}")
