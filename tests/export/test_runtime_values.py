"""What a runtime gives that is no number, with a network that is made up."""

import numpy as np
import pytest

from focalnet_d2.data.class_map import class_map
from focalnet_d2.export import runtime
from focalnet_d2.export.description import Description


class Session:
    """A classifier of three classes that gives NaN for images that are black."""

    description = Description("Any", "classes", {}, class_map(range(3), list("abc"))).to_json()

    def __call__(self, images: np.ndarray, image_sizes: np.ndarray) -> dict[str, np.ndarray]:
        is_black = images.max(axis=(1, 2, 3)) == 0
        return {"logits": np.where(is_black[:, None], np.nan, [[0.0, 3.0, 1.0]]).astype(np.float32)}


def test_values_that_are_no_numbers_are_an_error_of_their_image_alone(monkeypatch):
    monkeypatch.setattr(runtime, "open_session", lambda path, **options: Session())
    model = runtime.ExportedModel("m.onnx", batch_size=2)
    black, white = (np.full((4, 5, 3), value, np.uint8) for value in (0, 255))
    found = list(model.attempts([white, black, white]))
    assert [isinstance(one, ValueError) for one in found] == [False, True, False]
    assert "values that are NaN or infinite for the image array uint8 (4, 5, 3)" in str(found[1])
    assert found[0].class_scores.argmax() == 1
    with pytest.raises(ValueError, match="NaN or infinite"):
        model(black)
