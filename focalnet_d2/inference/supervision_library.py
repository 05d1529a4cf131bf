"""`supervision`, an optional package that draws pictures and follows objects."""

import warnings
from types import ModuleType


def load_supervision(what: str) -> ModuleType:
    """The module `supervision`.

    Args:
        what: needs it, for the message.

    Raises:
        ImportError: it is not installed; says what to type.
    """
    with warnings.catch_warnings():
        # Without OpenCV it draws by numpy, which is all that is needed, and says so at its import.
        warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
        try:
            import supervision  # an optional extra
        except ImportError as error:
            raise ImportError(f"{what} needs supervision: pip install focalnet-d2[predict].") from error
    return supervision
