"""What type checkers see of `__init__.py`, where these names are imported when they are first used."""

from .backbone.focalnet import FocalNet as FocalNet
from .checkpoint import load_checkpoint as load_checkpoint
from .config.lazy import list_recipes as list_recipes
from .config.lazy import load_recipe as load_recipe
from .inference.loading import load_model as load_model
from .inference.predictor import Predictor as Predictor
from .yacs import recipe_to_cfg as recipe_to_cfg

__version__: str
