from __future__ import annotations

from typing import Any

import pytest
import torch

Results = list[dict[str, Any]]
CONTRASTS = ("none", "bank", "fresh", "supervised", "simclr", "only matching", "few usable anchors")


def without_times(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in report.items() if not key.startswith(("time/", "system/"))} for report in reports
    ]


@pytest.mark.parametrize("variant", CONTRASTS)
def test_a_step_on_the_same_images_gives_one_workers_gradient(two_workers: Results, variant: str) -> None:
    assert [worker["gradients"][variant] < 1e-6 for worker in two_workers] == [True, True], two_workers[0]["gradients"]


def test_both_workers_have_the_same_student_and_the_same_losses(two_workers: Results) -> None:
    first, second = (worker["uninterrupted"] for worker in two_workers)
    assert len(first["weights"]) > 5
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name]), name
    for ours, theirs in zip(without_times(first["reports"]), without_times(second["reports"]), strict=True):
        assert {name: ours[name] for name in theirs} == theirs
        assert {name.split("/")[0] for name in set(ours) - set(theirs)} == {"probe", "val"}  # rank 0 judges alone


@pytest.mark.parametrize(("whole", "interrupted"), [("uninterrupted", "interrupted"), ("rare", "rare")])
@pytest.mark.parametrize("epoch", range(3))
def test_two_interrupted_workers_go_on_bit_for_bit(
    two_workers: Results, epoch: int, whole: str, interrupted: str
) -> None:
    """With a checkpoint an epoch and bank contrast; with one in two epochs, fresh contrast and learnt magnitudes."""
    for worker in two_workers:
        before, after = worker[f"{interrupted}-{epoch}"]
        merged = {report["epoch"]: report for report in without_times(before["reports"] + after["reports"])}
        assert list(merged.values()) == without_times(worker[whole]["reports"])
        for name, tensor in worker[whole]["weights"].items():
            assert torch.equal(tensor, after["weights"][name]), name


def test_both_go_back_together_when_one_workers_checkpoint_is_damaged(two_workers: Results) -> None:
    for worker in two_workers:
        again = without_times(worker["damaged"]["reports"])
        assert "the checkpoint is damaged" in again[0].pop("warning")
        assert again == without_times(worker["uninterrupted"]["reports"])  # from epoch 0's checkpoint on


def test_both_go_on_when_one_cannot_write_its_part_of_a_checkpoint(two_workers: Results) -> None:
    why = []
    for worker in two_workers:
        reports = without_times(worker["blocked"]["reports"])
        why.append(reports[0].pop("warning"))
        assert reports == without_times(worker["uninterrupted"]["reports"])
    assert "(another worker could not write its part of the checkpoint)" in why[0]
    assert "Is a directory" in why[1]


def test_what_every_worker_took_of_its_machine_is_in_every_report(two_workers: Results) -> None:
    for report in two_workers[0]["uninterrupted"]["reports"]:
        taken = {name: value for name, value in report.items() if name.startswith("system/")}
        parts = ("cpu_utilization_percentage", "memory_megabytes")
        assert set(taken) == {f"system/worker_{rank}/{part}" for rank in range(2) for part in parts}
        assert all(taken[f"system/worker_{rank}/memory_megabytes"] > 10 for rank in range(2))


def test_reports_that_may_have_been_lost_with_the_workers_are_told_again(two_workers: Results) -> None:
    for worker in two_workers:
        _, after = worker["interrupted-2"]
        assert [report["epoch"] for report in after["reports"]] == [0, 1, 2]
