"""torch.nn.functional's names: the operations behind the layers."""
from fastnn.ops import (
    activation,
    attention,
    convolution,
    cross_entropy,
    distance,
    dropout,
    embedding,
    folding,
    group_normalization,
    loss,
    loss_rows,
    normalization,
    padding,
    pooling,
    resize,
    shuffle,
    softmax,
    unpooling,
)
from fastnn.ops.linalg import bilinear as bilinear
from fastnn.ops.linear import linear as linear
from fastnn.ops.random import gumbel_softmax as gumbel_softmax

_FAMILIES = (activation, attention, convolution, cross_entropy, distance, dropout, embedding, folding, group_normalization, loss, loss_rows,
             normalization, padding, pooling, resize, shuffle, softmax, unpooling)
globals().update({name: getattr(family, name) for family in _FAMILIES for name in family.__all__})
