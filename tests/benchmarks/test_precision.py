"""The benchmarks of bf16 and of `torch.compile` run."""


def test_smoke_run_of_bf16(run_benchmark):
    rows = run_benchmark("precision", "--golden", "mini_L_fl3_97x131_b2", "--images", "0")["rows"]
    assert [row["case"] for row in rows] == ["FocalNet, mini_L_fl3_97x131_b2"]
    assert 0 < rows[0]["errors"]["features"] < 0.02


def test_smoke_run_of_compiling(run_benchmark):
    arguments = ("--modules", "encoder", "--sizes", "32x48", "--passes", "forward", "--precisions", "float32")
    (row,) = run_benchmark("compiled", *arguments, "--backend", "eager", "--rounds", "1")["rows"]
    assert row["compile_s"] > 0
    assert row["forms"]["compiled"]["difference"] == 0
