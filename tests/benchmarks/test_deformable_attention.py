"""The benchmark of deformable attention runs, and finds all forms equal to the plain one."""

import pytest

from focalnet_d2.kernels import compiler as compiled_library


@pytest.mark.parametrize("compiler", [True, False])
def test_smoke_run(run_benchmark, monkeypatch, compiler):
    if not compiler:
        monkeypatch.setenv(compiled_library.SWITCH, "0")
    rows = run_benchmark("deformable_attention", "--cases", "decoder 800x1333, 900 queries", "--rounds", "1")["rows"]
    names = [list(row["forms"]) for row in rows]
    assert ["plain", "table_lookup"] in names
    assert compiler or ["plain", "compiled"] not in names
    for row in rows:
        (form,) = (form for name, form in row["forms"].items() if name != "plain")
        assert form["difference"] < (1e-5 if row["precision"] == "float32" else 1e-2)
