#!/usr/bin/env bash
# orjson 3.13.0, on Linux x86_64 with glibc; seen on 2026-11-30.
# Behaviour: orjson.dumps writes into a buffer of some kilobytes and cuts the bytes object down to its length afterwards.
#   The object's size is then the short one, but the memory behind it is not given back: 20,000 results of seven bytes
#   take 82 MB, those of the standard library and copies of orjson's own take 1 MB.
# Likely guess: sys.getsizeof tells what a bytes object takes, and a list of small results is small, as of one result for
#   each annotation of a data set that is kept to be written or sent later.
# Output seen:
# > orjson: sys.getsizeof 40, resident memory of each result: above 3000 bytes
# > json: sys.getsizeof 40, resident memory of each result: below 150 bytes
# > orjson, copied: sys.getsizeof 40, resident memory of each result: below 150 bytes
. "$(dirname "$0")/common.sh"
check orjson==3.13.0 <<'PYTHON'
import json
import sys

import orjson

COUNT = 20_000


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def report(name, dumps):
    values = [[index] for index in range(10_000, 10_000 + COUNT)]
    before = resident()
    kept = [dumps(value) for value in values]
    each = (resident() - before) / COUNT
    range_of = "above 3000" if each > 3000 else "below 150" if each < 150 else f"about {each:.0f}"
    print(f"{name}: sys.getsizeof {sys.getsizeof(kept[0])}, resident memory of each result: {range_of} bytes")
    return kept  # alive, so that the next ones cannot take its memory


everything = [
    report("orjson", orjson.dumps),
    report("json", lambda value: json.dumps(value).encode()),
    report("orjson, copied", lambda value: bytes(memoryview(orjson.dumps(value)))),
]
PYTHON
