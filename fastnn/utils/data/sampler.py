"""`fastnn.utils.data.sampler`, torch's place for `fastnn.data.sampler`."""
from fastnn.data.sampler import *  # noqa: F403
