"""Optimizers and learning-rate schedulers, under torch's names."""
from fastnn.optim import lr_scheduler as lr_scheduler
from fastnn.optim import swa_utils as swa_utils
from fastnn.optim.adadelta import Adadelta as Adadelta
from fastnn.optim.adafactor import Adafactor as Adafactor
from fastnn.optim.adagrad import Adagrad as Adagrad
from fastnn.optim.adam import Adam as Adam
from fastnn.optim.adam import AdamW as AdamW
from fastnn.optim.adamax import Adamax as Adamax
from fastnn.optim.asgd import ASGD as ASGD
from fastnn.optim.lbfgs import LBFGS as LBFGS
from fastnn.optim.muon import Muon as Muon
from fastnn.optim.nadam import NAdam as NAdam
from fastnn.optim.optimizer import Optimizer as Optimizer
from fastnn.optim.radam import RAdam as RAdam
from fastnn.optim.rmsprop import RMSprop as RMSprop
from fastnn.optim.rprop import Rprop as Rprop
from fastnn.optim.sgd import SGD as SGD
