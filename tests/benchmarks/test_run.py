"""The command line of the benchmarks: choosing cases, changing settings, refusals, two checkouts side by side."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import run
from benchmarks.against import digest

ROOT = Path(__file__).resolve().parents[2]


def listed(capsys, *arguments):
    assert run.main([*arguments, "--list"]) == 0
    return capsys.readouterr().out.splitlines()


def test_without_words_all_groups_are_listed(capsys):
    groups = {line.split()[0] for line in listed(capsys)}
    assert {"backbone", "dino", "mask2former", "evaluators", "gpu"} < groups
    assert {line.split()[0] for line in listed(capsys, "all")} == groups - {"gpu"}


def test_cases_are_chosen_by_group_part_of_the_name_and_pattern(capsys):
    assert len(listed(capsys, "dino")) == 7
    assert listed(capsys, "dino focalnet-t training") == listed(capsys, "DINO * step *")
    assert len(listed(capsys, "dino", "DINO FocalNet-T inference")) == 7


def test_settings_change_what_is_measured(capsys):
    lines = listed(capsys, "dino", "--set", "size=64x96", "precision=float32")
    assert [line.partition(" ")[2].strip() for line in lines] == [
        "DINO FocalNet-T inference 64x96, float32",
        "DINO FocalNet-T training step 64x96, float32",
        "DINO FocalNet-T training step 64x96, peak memory",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backbon"], "No case is called 'backbon': see --list. The groups are backbone, "),
        (["backbone", "--set", "sizes=64x96"], "These cases have no setting 'sizes': they have precision, size, "),
        (["backbone", "--set", "size"], "--set size has no value: write key=value."),
        (["FocalNet-B", "--json"], "The committed results are those of whole groups, this is a part of backbone"),
        (["backbone", "--json", "--small"], "The committed results are those of whole groups, this is a small run"),
        (["backbone", "--against", "/nowhere"], "/nowhere/benchmarks/against.py does not exist"),
    ],
)
def test_mistakes_are_named_and_nothing_is_measured(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run.main(arguments)
    assert message in capsys.readouterr().err


def test_two_checkouts_take_turns(tmp_path, capsys):
    """Here one and the same, so that nothing but time may differ."""
    arguments = ["decoder*forward float32", "--small", "--rounds", "2", "--json", str(tmp_path)]
    assert run.main([*arguments, "--against", str(ROOT)]) == 0
    rows = json.loads((tmp_path / "against.json").read_text())["rows"]
    assert {row["case"].rpartition(", ")[2] for row in rows} >= {"table_lookup"}
    for row in rows:
        assert row["same_bits"]
        assert list(row["forms"]) == ["other checkout", "this checkout"]
        assert row["forms"]["this checkout"]["ratio"] > 0
    assert "the slowest, deformable attention, decoder 64x96" in capsys.readouterr().out


def test_a_digest_sees_every_bit():
    one = [torch.zeros(2, 3), [torch.ones(1, dtype=torch.bfloat16)]]
    assert digest(one) == digest([torch.zeros(2, 3), [torch.ones(1, dtype=torch.bfloat16)]])
    assert digest(one) != digest([-torch.zeros(2, 3), one[1]])
    assert digest(one) != digest([torch.zeros(3, 2), one[1]])
