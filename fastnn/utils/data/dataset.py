"""`fastnn.utils.data.dataset`, torch's place for `fastnn.data.dataset`."""
from fastnn.data.dataset import *  # noqa: F403
