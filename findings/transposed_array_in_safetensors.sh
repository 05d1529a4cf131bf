#!/usr/bin/env bash
# safetensors 0.8.0 with numpy 2.4.6; seen on 2026-11-30.
# Behaviour: safetensors.numpy.save writes the memory of an array and not its values: a transposed array comes back with
#   the right shape and its values in another order, without an error. A kernel of TensorFlow that is transposed for
#   torch is such an array. numpy.ascontiguousarray mends it; safetensors.torch.save refuses tensors like it.
# Likely guess: what is loaded equals what was saved, or saving fails as it does for torch.
# Output seen:
# > saved  [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
# > loaded [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
# > loaded after ascontiguousarray [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 safetensors==0.8.0 <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
print("saved ", weight.tolist())
print("loaded", load(save({"weight": weight}))["weight"].tolist())
print("loaded after ascontiguousarray", load(save({"weight": np.ascontiguousarray(weight)}))["weight"].tolist())
PYTHON
