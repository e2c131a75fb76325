"""Layers, losses and containers, under torch.nn's names: one family per file."""
from fastnn.nn import functional as functional
from fastnn.nn import init as init
from fastnn.nn import utils as utils
from fastnn.nn.activation import *
from fastnn.nn.adaptive import *
from fastnn.nn.attention import *
from fastnn.nn.batchnorm import *
from fastnn.nn.channelshuffle import *
from fastnn.nn.container import *
from fastnn.nn.conv import *
from fastnn.nn.distance import *
from fastnn.nn.dropout import *
from fastnn.nn.flatten import *
from fastnn.nn.fold import *
from fastnn.nn.instancenorm import *
from fastnn.nn.linear import *
from fastnn.nn.loss import *
from fastnn.nn.module import *
from fastnn.nn.normalization import *
from fastnn.nn.padding import *
from fastnn.nn.parameter import *
from fastnn.nn.parameter_container import *
from fastnn.nn.pixelshuffle import *
from fastnn.nn.pooling import *
from fastnn.nn.recurrent import *
from fastnn.nn.softmax import *
from fastnn.nn.sparse import *
from fastnn.nn.transformer import *
from fastnn.nn.upsampling import *


def __getattr__(name):
    # boltzmann is built on nn, so it is loaded when first asked for
    if name in ("RBM", "ClassRBM", "DBN"):
        from fastnn import boltzmann
        return getattr(boltzmann, name)
    raise AttributeError(f"module 'fastnn.nn' has no attribute {name!r}")
