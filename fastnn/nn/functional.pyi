from fastnn.ops.activation import *
from fastnn.ops.attention import *
from fastnn.ops.convolution import *
from fastnn.ops.cross_entropy import *
from fastnn.ops.distance import *
from fastnn.ops.dropout import *
from fastnn.ops.embedding import *
from fastnn.ops.folding import *
from fastnn.ops.group_normalization import *
from fastnn.ops.linalg import bilinear as bilinear
from fastnn.ops.linear import linear as linear
from fastnn.ops.loss import *
from fastnn.ops.loss_rows import *
from fastnn.ops.normalization import *
from fastnn.ops.padding import *
from fastnn.ops.pooling import *
from fastnn.ops.random import gumbel_softmax as gumbel_softmax
from fastnn.ops.resize import *
from fastnn.ops.shuffle import *
from fastnn.ops.softmax import *
from fastnn.ops.unpooling import *
