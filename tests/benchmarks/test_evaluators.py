"""The benchmark of the evaluators runs and finds their counts equal to those of the official tools."""

import pytest


@pytest.mark.filterwarnings("ignore:The 'warn' method")
def test_smoke_run(run_benchmark, capsys):
    rows = run_benchmark("evaluators", "--images", "2", "--rounds", "1")["rows"]
    assert any(row["case"].startswith("mIoU") for row in rows)
    assert any(row["case"].startswith("box AP") for row in rows)
    for row in rows:
        reference, *others = row["forms"].values()
        assert reference["seconds"] > 0
        assert all(form["ratio"] > 0 and form["difference"] < 1e-12 for form in others)
    printed = capsys.readouterr().out
    assert all(name in printed for row in rows for name in (row["case"], *row["forms"]))
