"""The benchmark of DINO runs, and finds the library's results equal to those of its plain form."""


def test_smoke_run(run_benchmark):
    arguments = ["--recipe", "dino_focalnet_mini_coco", "--sizes", "90x120", "--precisions", "float32", "--rounds", "1"]
    inference, step = run_benchmark("dino_model", *arguments)["rows"]
    assert inference["forms"]["library"]["difference"] < 1e-5  # of logits and boxes
    assert step["forms"]["library"]["difference"] < 1e-3  # of losses and gradients
    assert min(row["gflop"] for row in (inference, step)) > 0
