"""torch.utils: what of it fastnn has, in the places where torch has it; and `fuse_conv_bn_eval`, which torch keeps deeper down."""
from fastnn.nn.utils.fusion import fuse_conv_bn_eval
from fastnn.utils import data

__all__ = ["data", "fuse_conv_bn_eval"]
