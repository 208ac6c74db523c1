from dfkd.models import build_model


def num_parameters(name):
    model = build_model(name, num_classes=10, in_channels=1)
    return sum(parameter.numel() for parameter in model.parameters())


# By hand, a convolution and its BatchNorm have in*out*9 + 2*out.
def test_number_of_parameters_is_the_documented():
    assert num_parameters("digits_teacher") == 352 + 9_280 + 18_560 + 36_992 + 650
    assert num_parameters("digits_student") == 176 + 3_504 + 6_976 + 330


def test_student_is_at_most_a_fifth_of_the_teacher():
    assert num_parameters("digits_student") * 5 <= num_parameters("digits_teacher")


def test_student_features_are_wide_enough_to_contrast():
    assert build_model("digits_student", num_classes=10, in_channels=1).feature_width >= 32
