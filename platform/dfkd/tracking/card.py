"""``StudentCard``: what a person must know of a registered student, as one page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dfkd.settings.search import Direction

PROVENANCES = {
    "trusted": "trusted",
    "unknown": "unknown: if somebody hid a backdoor in the teacher, it may have passed into this student",
}
BYTES = 4  # of a parameter in float32


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentCard:
    """Where a student comes from and what it scored.

    Attributes:
        method: as tables call it, e.g. "CAE-DFKD (our reading)".
        teacher_name: architecture or registry address.
        teacher_hash: of its weights and of what it expects, see ``dfkd.teachers.hash_teacher``.
        teacher_shifted: whether it was trained on other images than the ones that it is judged on.
        teacher_parameters: count.
        student_parameters: count.
        settings: the resolved experiment, as ``dfkd.settings.identity.shareable`` gives it: cards travel.
        scores: by name, fractions in [0, 1] where they are accuracies.
        learnt_from: what images it was distilled on, in words.
        data_free: whether none of them was real.
        selection_data: what data chose this student among others, in words.
        objective: name of the number that chose it.
        objective_value: that number.
        direction: whether more of it is better.
        exam_hash: of what gave that number: the probe set, or the validation images. Values of other exams do not
            compare.
        seed: of the run.
        commit: of the code, or "unknown".
        versions: of the packages that matter, by name.
        teacher_provenance: whether the teacher's maker is trusted.
        num_classes: K.
        image_shape: (C, H, W) of what it takes.
        latency: how long an answer to one image took, and where, in words.
    """

    method: str
    teacher_name: str
    teacher_hash: str
    teacher_shifted: bool
    teacher_parameters: int
    student_parameters: int
    settings: Mapping[str, object]
    scores: Mapping[str, float]
    learnt_from: str
    data_free: bool
    selection_data: str
    objective: str
    objective_value: float
    direction: Direction
    exam_hash: str
    seed: int
    commit: str
    versions: Mapping[str, str]
    num_classes: int
    image_shape: tuple[int, int, int]
    latency: str
    teacher_provenance: Literal["trusted", "unknown"] = "unknown"
    scored_on: str | None = None  # which images gave the scores, in words; None: there were none

    def summary(self) -> str:
        """Return the card without the settings: what MLflow shows beside a version."""
        shifted = " — **shifted teacher**: trained on other images than it is judged on" if self.teacher_shifted else ""
        ratio = self.student_parameters / self.teacher_parameters
        shape = " x ".join(map(str, self.image_shape))
        lines = [
            f"**Intended use** To put images of the kind that its teacher was made for ({shape}) into one of "
            f"{self.num_classes} classes, where the teacher is too large or too slow.",
            f"**Method** {self.method}, seed {self.seed}",
            f"**Teacher** {self.teacher_name}, {self.teacher_parameters:,} parameters, `{self.teacher_hash}`{shifted}",
            f"**Teacher provenance** {PROVENANCES[self.teacher_provenance]}",
            f"**Student** {self.student_parameters:,} parameters ({ratio:.1%} of the teacher's), "
            f"{self.student_parameters * BYTES / 1e6:.3g} MB",
            f"**Latency** {self.latency}",
            f"**Chosen by** {self.objective} = {self.objective_value:.6g} ({self.direction}; exam `{self.exam_hash}`)",
            f"**Learnt from** {self.learnt_from}",
            f"**Data used for the choice** {self.selection_data}",
            f"**Code** commit {self.commit}; " + ", ".join(f"{name} {v}" for name, v in self.versions.items()),
        ]
        scores = ["| score | value |", "|---|---|", *(f"| {name} | {v:.4f} |" for name, v in self.scores.items())]
        lines += [f"**Scores** on {self.scored_on}; settings in `card.md` beside its weights"] if self.scored_on else []
        return "\n\n".join([*lines, "\n".join(scores), f"## Limits\n\n{_LIMITS}", self._no_guarantee()])

    def _no_guarantee(self) -> str:
        made = _FROM_THE_TEACHER if self.data_free else f"This student learnt from {self.learnt_from}."
        return f"## No privacy guarantee\n\n{made} {_NOTHING_BOUNDS_IT}"

    def to_markdown(self) -> str:
        """Return the whole card."""
        settings = json.dumps(self.settings, indent=2, default=str)
        return f"# Student card\n\n{self.summary()}\n\n## Settings\n\n```json\n{settings}\n```\n"


_LIMITS = """It errs where its teacher errs, and elsewhere besides: the scores above are all that is known. Its
probabilities were not calibrated, and nothing tells it that an image is of another kind. Before it takes a teacher's
place, put both to labelled images of the place where it will work (`experiments/accept.py`)."""
_FROM_THE_TEACHER = """This student was made without its teacher's training data, but from the teacher, which was made
from them."""
_NOTHING_BOUNDS_IT = """What the teacher memorised can have passed into the student and into the images that it learnt
from. Nothing here bounds that: no differential privacy, and an attack that fails (`evaluate.py --task privacy`) says
nothing of the next one. Treat the student and the images as you would treat the teacher."""
