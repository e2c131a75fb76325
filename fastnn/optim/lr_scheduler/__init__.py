"""Learning-rate schedulers, under torch's names."""
from fastnn.optim.lr_scheduler import composite, cosine, cyclic, decay, plateau, scheduler
from fastnn.optim.lr_scheduler.composite import *  # noqa: F403
from fastnn.optim.lr_scheduler.cosine import *  # noqa: F403
from fastnn.optim.lr_scheduler.cyclic import *  # noqa: F403
from fastnn.optim.lr_scheduler.decay import *  # noqa: F403
from fastnn.optim.lr_scheduler.plateau import *  # noqa: F403
from fastnn.optim.lr_scheduler.scheduler import LRScheduler as LRScheduler

__all__ = [name for module in (scheduler, decay, cosine, cyclic, plateau, composite) for name in module.__all__]
