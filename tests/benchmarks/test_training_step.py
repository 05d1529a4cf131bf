"""The benchmark of a training step runs."""


def test_smoke_run(run_benchmark, capsys):
    arguments = ("dino_focalnet_mini_demo", "--size", "128", "160", "--device", "cpu", "--rounds", "1")
    [row] = run_benchmark("training_step", *arguments, "--amp", "bf16", "model.encoder.use_checkpoint=True")["rows"]
    assert row["case"] == "dino_focalnet_mini_demo training step 128x160, batch 1"
    assert row["precision"] == "bfloat16"
    assert row["forms"]["library"]["seconds"] > 0
    assert row["forms"]["library"]["peak_bytes"] > 1e8  # of the process
    assert "GiB" in capsys.readouterr().out
