import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dfkd.models import Backbone
from dfkd.teachers import Teacher, build_network, save_teacher
from dfkd.teachers.backbone import load_backbone
from dfkd.teachers.weights import read_safetensors

SHUFFLENET = "shufflenetv2_x0.5-f707e7126e.pth"  # as torchvision calls the file of its published weights


def test_an_untrained_network_depends_on_its_seed_alone() -> None:
    torch.manual_seed(5)
    first = load_backbone("untrained:resnet8", seed=1)
    torch.manual_seed(6)
    again, other = load_backbone("untrained:resnet8", seed=1), load_backbone("untrained:resnet8", seed=2)
    assert first.hash == again.hash != other.hash
    assert not first.model.training
    assert load_backbone("untrained:resnet8", channels=1).image_shape == (1, 32, 32)
    with pytest.raises(ValueError, match="Did you mean 'resnet8'"):
        load_backbone("untrained:resnet9")


def test_a_file_is_read_as_it_describes_itself(teacher: Teacher, tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher.safetensors", teacher)
    found = load_backbone(str(tmp_path / "teacher.safetensors"))
    assert found.hash == teacher.hash
    assert (found.image_shape, found.mean, found.std) == (teacher.image_shape, teacher.mean, teacher.std)


def test_the_registry_gives_weights_and_description(teacher: Teacher, tmp_path: Path) -> None:
    save_teacher(tmp_path / "teacher.safetensors", teacher)
    stored = read_safetensors(tmp_path / "teacher.safetensors")
    asked: list[str] = []

    def registry(uri: str) -> Any:
        asked.append(uri)
        return stored

    assert load_backbone("models:/student@champion", registry=registry).hash == teacher.hash
    assert asked == ["models:/student@champion"]
    with pytest.raises(ValueError, match="models:/student@champion: no model registry is connected"):
        load_backbone("models:/student@champion")


def test_a_file_that_does_not_describe_itself_is_named(teacher: Teacher, tmp_path: Path) -> None:
    save_file(dict(teacher.model.state_dict()), tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match=r"bare.safetensors does not describe itself: .*KeyError\('input_size'\)"):
        load_backbone(str(tmp_path / "bare.safetensors"))
    with pytest.raises(ValueError, match=r"weights.pt: expected models:/name@alias, a .safetensors file"):
        load_backbone("weights.pt")


def test_torchvisions_published_weights_come_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    published = build_network("torchvision:shufflenet_v2_x0_5", num_classes=1000, in_channels=3)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(published.network.state_dict(), folder / SHUFFLENET)  # type: ignore[union-attr]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    found = load_backbone("torchvision:shufflenet_v2_x0_5")
    assert found.mean == (0.485, 0.456, 0.406)
    assert (found.image_shape, len(found.class_names), found.class_names[0]) == ((3, 224, 224), 1000, "tench")
    assert_same_features(found, published)


def test_timms_published_weights_come_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason="needs the extra [timm]")
    torch.manual_seed(0)
    published = build_network("timm:test_resnet", num_classes=1000, in_channels=3)
    cache = tmp_path / "models--timm--test_resnet.r160_in1k"
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    save_file(dict(published.network.state_dict()), snapshot / "model.safetensors")  # type: ignore[union-attr, arg-type]
    (snapshot / "config.json").write_text(json.dumps({"architecture": "test_resnet"}))
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = load_backbone("timm:test_resnet")
    assert (found.mean, found.image_shape) == ((0.5, 0.5, 0.5), (3, 160, 160))
    assert found.provenance == "timm:test_resnet (r160_in1k)"
    assert_same_features(found, published)


def assert_same_features(found: Teacher, published: torch.nn.Module) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert isinstance(found.model, Backbone)
    with torch.no_grad():
        expected = published.eval().forward_features(images)  # type: ignore[operator]
        assert torch.equal(found.model.forward_features(images), expected)


def test_published_weights_that_cannot_be_had_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(ValueError, match=r"torchvision:shufflenet_v2_x0_5 cannot be had from https://.*no route"):
        load_backbone("torchvision:shufflenet_v2_x0_5")
    with pytest.raises(ValueError, match="torchvision has no classifier 'resnet19'"):
        load_backbone("torchvision:resnet19")
