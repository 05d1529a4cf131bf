"""The small DINO with what Stable-DINO adds; it starts from weights of the small DINO as well."""

from .dino_mini import model
from .stable_dino import model as _stable

model.encoder.fusion = _stable.encoder.fusion
model.encoder.fusion.start_from_memory = True
model.criterion = _stable.criterion
model.denoising.rejected_step = _stable.denoising.rejected_step
