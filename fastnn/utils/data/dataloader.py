"""`fastnn.utils.data.dataloader`, torch's place for `fastnn.data.dataloader`."""
from fastnn.data.dataloader import *  # noqa: F403
