import pytest
import torch

from dfkd.models import build_model


# By hand, a convolution with bias and its BatchNorm have in*out*9 + 3*out: 1,920 + 74,112 + 295,680 + 590,592
# + 1,181,184 + 3 * 2,360,832, then linear 512*10 + 10: the figure of the public CIFAR code.
def test_number_of_parameters_is_that_of_the_reference_code():
    model = build_model("vgg11", num_classes=10, in_channels=3)

    assert sum(parameter.numel() for parameter in model.parameters()) == 9_231_114


@pytest.mark.parametrize(("side", "expected"), [(8, 1), (32, 4), (64, 4)])
def test_a_fourth_pooling_takes_part_from_64_pixels_on(side, expected):
    model = build_model("vgg11", num_classes=10, in_channels=1).eval()
    sizes = []
    model.block4.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape[-1]))

    with torch.no_grad():
        model(torch.zeros(1, 1, side, side))

    assert sizes == [expected]


def test_images_too_small_to_pool_are_refused():
    with pytest.raises(ValueError, match="vgg11: expected images of at least 8x8 pixels, got 7x9"):
        build_model("vgg11", num_classes=10, in_channels=1)(torch.zeros(1, 1, 7, 9))
