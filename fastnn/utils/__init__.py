"""torch.utils: what of it fastnn has, in the places where torch has it."""
from fastnn.utils import data

__all__ = ["data"]
