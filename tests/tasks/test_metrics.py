import sys

import pytest

from dfkd.tasks.metrics import import_torchmetrics, mean_average_precision


@pytest.mark.parametrize("name", ["torchmetrics", "pycocotools"])
def test_a_package_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"scored with {name}: pip install -e '\.\[transfer\]'"):
        import_torchmetrics() if name == "torchmetrics" else mean_average_precision(100)
