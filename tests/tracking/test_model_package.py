from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dfkd.tracking.connection import import_mlflow
from dfkd.tracking.model_package import ModelDescription, export_classifier, read_weights, write_package

DESCRIPTION = ModelDescription(
    architecture="tiny", class_names=("cat", "dög"), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), image_shape=(3, 8, 8)
)


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    network(torch.randn(16, 3, 8, 8))  # BatchNorm statistics that differ from their start
    return network


def test_an_export_normalises_and_takes_any_batch() -> None:
    network = _network()
    graph = export_classifier(network, DESCRIPTION)
    network.eval()
    mean, std = torch.tensor(DESCRIPTION.mean).view(3, 1, 1), torch.tensor(DESCRIPTION.std).view(3, 1, 1)
    for batch_size in (1, 2, 5, 64):
        images = torch.rand(batch_size, 3, 8, 8)
        torch.testing.assert_close(graph(images), network((images - mean) / std), atol=1e-5, rtol=0)


def test_exporting_leaves_the_model_as_it_was() -> None:
    network = _network().double()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_classifier(network, DESCRIPTION)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_class_names_that_do_not_match_the_logits_are_an_error() -> None:
    description = ModelDescription(
        architecture="tiny", class_names=("a", "b", "c"), mean=(0.0,) * 3, std=(1.0,) * 3, image_shape=(3, 8, 8)
    )
    with pytest.raises(ValueError, match=r"expected logits \[1, 3\].*got \[1, 2\]"):
        export_classifier(_network(), description)


class _FixedBatch(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(2, -1)[:, :2]  # works for two images only


class _Random(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.rand(images.shape[0], 2)


def test_a_model_for_one_batch_size_only_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot export 'tiny' with a free batch size"):
        export_classifier(_FixedBatch(), DESCRIPTION)


def test_a_model_whose_export_differs_is_an_error() -> None:
    with pytest.raises(ValueError, match="differs from the model"):
        export_classifier(_Random(), DESCRIPTION)


def test_a_package_reads_back_without_pickle_and_names_no_code_of_ours(tmp_path: Path) -> None:
    import_mlflow()
    from mlflow.models import Model

    network = _network()
    folder = tmp_path / "package"
    graph = export_classifier(network, DESCRIPTION)
    write_package(folder, model=network, graph=graph, description=DESCRIPTION, card="# Card", mlflow_model=Model())
    state, metadata = read_weights(folder / "model.safetensors")
    assert metadata["architecture"] == "tiny"
    assert json.loads(metadata["class_names"]) == ["cat", "dög"]
    assert json.loads(metadata["input_mean"]) == [0.5, 0.4, 0.3] and json.loads(metadata["input_std"]) == [
        0.2,
        0.3,
        0.4,
    ]
    assert (metadata["input_size"], metadata["channels"], metadata["num_classes"]) == ("8", "3", "2")
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
    described = json.loads((folder / "model.json").read_text())
    assert described["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert (folder / "card.md").read_text() == "# Card"
    archive = (folder / "data" / "model.pt2").read_bytes()
    assert b"dfkd." not in archive and str(Path(__file__).parents[2]).encode() not in archive
