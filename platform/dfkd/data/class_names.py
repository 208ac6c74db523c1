"""What the classes are called: as the files say, as the settings say, or by their number."""

from __future__ import annotations

from dfkd.settings.experiment import DatasetSettings


def choose_class_names(settings: DatasetSettings, found: tuple[str, ...] | None, num_labels: int) -> tuple[str, ...]:
    """Return the K class names, in the order of the labels.

    Names in the settings replace those of the files, one for one and in the same order.

    Args:
        settings: may name the classes.
        found: the names in the files, if they name them.
        num_labels: one more than the largest label seen, 0 where there is none; K where nobody names the classes.

    Raises:
        ValueError: if the settings give another number of names, or the files' own names in another order, or if
            there are neither names nor labels.
    """
    wanted = settings.class_names
    if wanted is None and found is None and num_labels == 0:
        raise ValueError(
            "dataset.class_names: no image has a label, so nothing says which classes there are. Give their names, in "
            "the order of the teacher's logits."
        )
    if wanted is None:
        return found if found is not None else tuple(f"class {label}" for label in range(num_labels))
    if found is None:
        return wanted
    if len(wanted) != len(found):
        raise ValueError(
            f"dataset.class_names: expected {len(found)} names, as in the files ({', '.join(found[:10])}), "
            f"got {len(wanted)}."
        )
    for label, name in enumerate(wanted):
        if name in found and found.index(name) != label:
            raise ValueError(
                f"dataset.class_names: '{name}' stands at position {label}, but in the files it is class "
                f"{found.index(name)}. Give the names in the order of the files: {', '.join(found[:10])}."
            )
    return wanted
