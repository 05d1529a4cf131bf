"""torch's setting of float32 products: what it says, by either of its names, and that it is put back."""

import pytest
import torch

from focalnet_d2.kernels import cpu_matmul as module
from focalnet_d2.kernels.cpu_matmul import is_full_precision, onednn_matmul, onednn_multiplies_float32


@pytest.fixture(params=["own", "older"])
def setting(request, monkeypatch):
    """torch's own setting for oneDNN where it has one, and the older one of all devices in the place of torch's."""
    given = ["highest"]
    if request.param == "older":
        monkeypatch.setattr(module, "_OWN_SETTING", None)
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: given[-1])
        monkeypatch.setattr(torch, "set_float32_matmul_precision", given.append)
    yield
    assert set(given) <= {"highest", "medium"}


@pytest.mark.usefixtures("setting")
def test_onednn_multiplies_inside_only():
    def state():
        return is_full_precision(), onednn_multiplies_float32()

    assert state() == (True, False)
    with onednn_matmul():
        assert state() == (False, torch.backends.mkldnn.is_available())
        with onednn_matmul():
            pass
        assert state() == (False, torch.backends.mkldnn.is_available())
    assert state() == (True, False)
    with pytest.raises(KeyError), onednn_matmul():
        raise KeyError
    assert state() == (True, False)


@pytest.mark.usefixtures("setting")
def test_without_onednn_nothing_goes_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with onednn_matmul():
        assert not onednn_multiplies_float32()
