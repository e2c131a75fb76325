"""Learning-rate schedulers, under torch's names."""
from fastnn.optim.lr_scheduler.composite import ChainedScheduler as ChainedScheduler
from fastnn.optim.lr_scheduler.composite import SequentialLR as SequentialLR
from fastnn.optim.lr_scheduler.cosine import CosineAnnealingLR as CosineAnnealingLR
from fastnn.optim.lr_scheduler.cosine import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from fastnn.optim.lr_scheduler.cyclic import CyclicLR as CyclicLR
from fastnn.optim.lr_scheduler.cyclic import OneCycleLR as OneCycleLR
from fastnn.optim.lr_scheduler.decay import ConstantLR as ConstantLR
from fastnn.optim.lr_scheduler.decay import ExponentialLR as ExponentialLR
from fastnn.optim.lr_scheduler.decay import LambdaLR as LambdaLR
from fastnn.optim.lr_scheduler.decay import LinearLR as LinearLR
from fastnn.optim.lr_scheduler.decay import MultiplicativeLR as MultiplicativeLR
from fastnn.optim.lr_scheduler.decay import MultiStepLR as MultiStepLR
from fastnn.optim.lr_scheduler.decay import PolynomialLR as PolynomialLR
from fastnn.optim.lr_scheduler.decay import StepLR as StepLR
from fastnn.optim.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from fastnn.optim.lr_scheduler.scheduler import LRScheduler as LRScheduler

_LRScheduler = LRScheduler     # the name by which older programs subclass it
