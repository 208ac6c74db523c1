from collections.abc import Callable

import torch
from torch import nn

from dfkd.assembly import build_distillation
from dfkd.distillation import Distillation, distill
from dfkd.layer_random import LayerRandom
from dfkd.settings.experiment import ExperimentSettings
from dfkd.teachers import Teacher

CPU = torch.device("cpu")


def test_it_draws_on_where_it_stopped_and_changes_nobody_elses_numbers() -> None:
    first, second = LayerRandom(3, CPU), LayerRandom(3, CPU)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with first.swapped_in():
        drawn = [torch.rand(4), torch.rand(4)]
    assert torch.equal(torch.get_rng_state(), before)
    with second.swapped_in():
        assert torch.equal(torch.rand(4), drawn[0])
    torch.rand(9)  # somebody else's
    third = LayerRandom(5, CPU)
    third.set_state(second.get_state())
    with third.swapped_in():
        assert torch.equal(torch.rand(4), drawn[1])


def with_dropout(run: Distillation) -> Distillation:
    student = run.pair.student
    student.linear = nn.Sequential(nn.Dropout(0.5), student.linear)  # type: ignore[arg-type]
    return run


def test_a_student_with_dropout_resumes_bit_for_bit(
    tiny_settings: Callable[..., ExperimentSettings], tiny_teacher: Teacher
) -> None:
    def start() -> Distillation:
        return with_dropout(build_distillation(tiny_settings(distillation={"epochs": 3}), tiny_teacher, device=CPU))

    whole = [report.metrics for report in distill(start())]
    torch.manual_seed(99)
    interrupted = start()
    reports = distill(interrupted)
    begun = [next(reports).metrics for _ in range(2)]
    state = interrupted.state_dict()
    torch.rand(5)
    resumed = start()
    resumed.load_state_dict(state)
    assert begun + [report.metrics for report in distill(resumed)] == whole
