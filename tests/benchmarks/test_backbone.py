"""The benchmark of the backbone runs, and finds the library's results equal to those of its plain form."""


def test_smoke_run(run_benchmark):
    result = run_benchmark("backbone", "--networks", "FocalNet-T", "--sizes", "64x96", "--rounds", "1")
    assert result["machine"]["threads"] == 1
    limits = {"float32": 1e-4, "bfloat16": 0.1}
    cases = [(row["case"], row["precision"]) for row in result["rows"]]
    passes = ("forward", "forward + backward")
    assert cases == [(f"FocalNet-T {title} 64x96", precision) for title in passes for precision in limits]
    for row in result["rows"]:
        assert row["forms"]["library"]["difference"] < limits[row["precision"]]
        assert min(row["share_of"].values()) > 0
