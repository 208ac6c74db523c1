import pytest
import torch

from dfkd.models import build_model


# By hand: 6*(25+1) + 16*(6*25+1) + 120*(16*25+1) + 84*(120+1) + 10*(84+1) = 156 + 2,416 + 48,120 + 10,164 + 850.
def test_number_of_parameters_is_the_papers_with_full_connections():
    model = build_model("lenet5", num_classes=10, in_channels=1)

    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706


def test_images_of_28_pixels_are_padded_with_their_border():
    torch.manual_seed(0)
    model = build_model("lenet5", num_classes=10, in_channels=1).eval()
    small = torch.full((1, 1, 28, 28), -0.4)  # a black image after normalisation
    small[:, :, 10:18, 10:18] = 2.0
    large = torch.full((1, 1, 32, 32), -0.4)
    large[:, :, 12:20, 12:20] = 2.0

    with torch.no_grad():
        assert torch.equal(model(small), model(large))


def test_other_sizes_are_refused_with_the_way_out():
    model = build_model("lenet5", num_classes=10, in_channels=3)

    with pytest.raises(
        ValueError, match=r"expected images of 32x32 or 28x28 pixels, got 16x20. Set dataset.image_size"
    ):
        model(torch.zeros(1, 3, 16, 20))
