import copy
import importlib.util
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dfkd.compression import num_bytes, quantise
from dfkd.export import OnnxNetwork, onnx_file, require_onnx
from dfkd.models import build_model
from dfkd.tasks.protocol import predict_logits

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [export]")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (70, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope="module")
def network(images: Tensor) -> nn.Module:
    torch.manual_seed(0)
    network = build_model("digits_student", num_classes=5, in_channels=1)
    with torch.no_grad():
        for _ in range(40):
            network.train()(normalise(images.float() / 255))
    return network.eval()


@pytest.fixture(scope="module")
def quantised(network: nn.Module, images: Tensor) -> OnnxNetwork:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quantised = quantise(network, normalise(images.float() / 255))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    return quantised


def normalise(images: Tensor) -> Tensor:
    return (images - 0.5) / 0.3


@needs_onnx
def test_logits_are_close_and_not_the_same(network: nn.Module, quantised: OnnxNetwork, images: Tensor) -> None:
    exact, rounded = (
        predict_logits(model, images, normalise=normalise, device="cpu") for model in (network, quantised)
    )
    error = (exact - rounded).abs().max() / exact.std()
    assert 1e-4 < error < 0.2


@needs_onnx
def test_every_batch_size_is_taken(quantised: OnnxNetwork, images: Tensor) -> None:
    together = quantised(normalise(images.float() / 255))
    for size in (1, 3, 64):
        assert torch.allclose(quantised(normalise(images[:size].float() / 255)), together[:size], atol=1e-4)


@needs_onnx
def test_weights_take_a_byte_each(network: nn.Module, quantised: OnnxNetwork) -> None:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    weights = sum(layer.weight.numel() for layer in layers)
    assert weights < quantised.num_bytes() < 1.3 * weights
    assert quantised.num_bytes() < num_bytes(network) / 3


@needs_onnx
def test_ranges_come_from_the_images(network: nn.Module, quantised: OnnxNetwork, images: Tensor) -> None:
    """Calibrated on nearly black images, everything brighter saturates."""
    pixels = normalise(images.float() / 255)
    dark = quantise(network, normalise(images.float() / 255 / 50))
    exact = network(pixels)
    fine = (quantised(pixels) - exact).abs().mean()
    assert (dark(pixels) - exact).abs().mean() > 5 * fine


@needs_onnx
def test_what_cannot_be_exported_is_refused() -> None:
    class Undecided(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(ValueError, match="export: this network cannot be written as ONNX"):
        quantise(Undecided(), torch.zeros(2, 1, 8, 8))


@needs_onnx
def test_copies_and_pickles_compute_the_same(quantised: OnnxNetwork, images: Tensor) -> None:
    pixels = normalise(images.float() / 255)
    for twin in (copy.deepcopy(quantised), pickle.loads(pickle.dumps(quantised))):
        assert torch.equal(twin(pixels), quantised(pixels))


@needs_onnx
def test_the_file_says_nothing_of_where_it_was_made(quantised: OnnxNetwork) -> None:
    assert str(Path.cwd()).encode() not in quantised.content
    assert b"dfkd" not in quantised.content


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("torch", "not_there_a", "not_there_b"))
    with pytest.raises(
        ValueError, match=r"compression.int8: needs not_there_a and not_there_b: pip install -e '\.\[export\]'"
    ):
        require_onnx("compression.int8")
