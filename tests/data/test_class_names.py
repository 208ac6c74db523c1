import pytest

from dfkd.data.class_names import choose_class_names
from dfkd.settings.experiment import DatasetSettings


def test_files_name_the_classes() -> None:
    assert choose_class_names(DatasetSettings(), ("a", "b"), 2) == ("a", "b")


def test_numbers_name_the_classes_where_nobody_does() -> None:
    assert choose_class_names(DatasetSettings(), None, 3) == ("class 0", "class 1", "class 2")


def test_settings_name_the_classes_where_the_files_do_not() -> None:
    assert choose_class_names(DatasetSettings(class_names=("a", "b", "c")), None, 2) == ("a", "b", "c")


def test_settings_rename_the_classes_one_for_one() -> None:
    assert choose_class_names(DatasetSettings(class_names=("tench", "b")), ("n01440764", "b"), 2) == ("tench", "b")


def test_another_number_of_names_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 names.*got 3"):
        choose_class_names(DatasetSettings(class_names=("a", "b", "c")), ("a", "b"), 2)


def test_the_files_names_in_another_order_are_refused() -> None:
    with pytest.raises(ValueError, match="'pneumonia' stands at position 0, but in the files it is class 1"):
        choose_class_names(DatasetSettings(class_names=("pneumonia", "normal")), ("normal", "pneumonia"), 2)
