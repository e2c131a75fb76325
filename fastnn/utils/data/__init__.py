"""`fastnn.utils.data`, torch's place for `fastnn.data`."""
from fastnn.data import *  # noqa: F403
from fastnn.data import __all__ as __all__
