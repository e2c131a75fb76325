"""`fastnn.utils.data.distributed`, torch's place for the DistributedSampler."""
from fastnn.data.sampler import DistributedSampler as DistributedSampler
