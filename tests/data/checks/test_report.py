"""Faults stay few: of one kind a limited number, and each once however many readings show it."""

from focalnet_d2.data.annotations.faults import Fault
from focalnet_d2.data.checks.report import MOST_FAULTS, FaultList, Findings


def fault(place, kind="missing-image", severity="error"):
    return Fault(kind, severity, f"{place}.png", f"{place}.png is missing.", (str(place),))


def test_of_a_kind_some_are_listed_and_all_are_counted():
    faults = FaultList()
    faults.extend(fault(place) for place in range(5 * MOST_FAULTS))
    faults.add(fault(0, "leaked-image", "warning"))
    listed = faults.faults()
    assert [one.kind for one in listed] == ["missing-image"] * MOST_FAULTS + ["leaked-image"]
    assert [one.file for one in listed[:MOST_FAULTS]] == [f"{place}.png" for place in range(MOST_FAULTS)]
    assert faults.left_out() == {"missing-image": 4 * MOST_FAULTS}


def test_faults_of_one_kind_and_file_are_one():
    faults = FaultList()
    faults.extend(Fault("box", "error", "x.json", "Wrong.", (str(place),)) for place in range(3000))
    (one,) = faults.faults()
    assert one.count == 3000
    assert one.ids[:2] == ("0", "1")


def test_a_file_is_listed_once_for_two_readings():
    findings = Findings("data")
    findings.add([fault(1), fault(2, "alpha", "note")])
    findings.add([fault(1), fault(3)], {"missing-image": 7})
    assert [(one.severity, one.file) for one in findings.faults] == [
        ("error", "1.png"),
        ("error", "3.png"),
        ("note", "2.png"),
    ]
    assert findings.counts() == {"error": 2, "warning": 0, "note": 1}
    assert findings.to_plain()["left_out"] == {"missing-image": 7}
    assert not findings.is_clean
