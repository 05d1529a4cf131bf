"""Results of the stored logits, without the network: what the published inference made of the same numbers."""

import pytest
import torch

from tests.golden.cases import device, tensor
from tests.golden.mask2former_cases import inference_of, mask2former_cases, stored
from tests.golden.segmentation_results import TASKS, assert_results_equal

TOLERANCE = {torch.float64: 2e-7, torch.float32: 1e-5}


@pytest.mark.parametrize("case", mask2former_cases("full"), ids=lambda case: case["name"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=("float64", "float32"))
@pytest.mark.parametrize("tag", TASKS)
@pytest.mark.parametrize("tile_bytes", [0, 2**26])
def test_stored_logits(case, dtype, tag, tile_bytes, monkeypatch):
    found, inference = stored(case), inference_of(case, TASKS[tag])
    monkeypatch.setattr("mask2former.postprocessing._TILE_BYTES", tile_bytes)
    logits, masks = (tensor(found[name], dtype).to(device()) for name in ("pred_logits", "pred_masks"))
    about = {entry["image"]: entry for entry in case["results"] if entry["tag"] == tag}
    for index, (image, wanted) in enumerate(zip(case["images"], case["output_sizes"], strict=True)):
        image_size = (image["height"], image["width"])
        result = inference(
            logits[index],
            masks[index],
            padded_size=(4 * masks.shape[-2], 4 * masks.shape[-1]),
            image_size=image_size,
            output_size=tuple(wanted) if wanted else image_size,
        )
        exact = dtype is torch.float64
        assert_results_equal(result, found, f"{tag}{index}", about[index], TOLERANCE[dtype], exact)
