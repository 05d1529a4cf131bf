#!/usr/bin/env bash
# omegaconf 2.3.1, hydra-core 1.3.8, PyYAML 6.0.4; seen on 2026-11-30.
# Behaviour: OmegaConf.from_dotlist, hydra's overrides (hydra is built on OmegaConf, and Detectron2's LazyConfig reads
#   its command line with it) and yaml.safe_load, which reads the saved configuration, take one text for different
#   values: `off` is False, the true text "off", and False; 1e-3 is a text in YAML alone; 12:30 is 750 seconds; 010 is
#   eight or a text. None is a text for all of them.
# Likely guess: what a command line sets to `off` is off, and a value survives being written to YAML by hand.
# Output seen (text, from_dotlist, hydra, safe_load):
# > off       False          'off'          False
# > 1e-3      0.001          0.001          '1e-3'
# > 010       8              '010'          8
# > 12:30     750            '12:30'        750
# > nan       'nan'          nan            'nan'
# > 0x10      16             '0x10'         16
# > None      'None'         'None'         'None'
. "$(dirname "$0")/common.sh"
check omegaconf==2.3.1 hydra-core==1.3.8 PyYAML==6.0.4 <<'PYTHON'
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

hydra = OverridesParser.create()
for text in ("off", "1e-3", "010", "12:30", "nan", "0x10", "None"):
    values = (
        OmegaConf.from_dotlist([f"key={text}"]).key,
        hydra.parse_override(f"key={text}").value(),
        yaml.safe_load(f"key: {text}")["key"],
    )
    print(f"{text:9}", *(f"{value!r:14}" for value in values[:2]), repr(values[2]))
PYTHON
