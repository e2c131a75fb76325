"""Conversions between dtypes and memory orders."""
cimport numpy as np

from fastnn.core.tensor cimport Tensor

cdef np.ndarray in_order_of(np.ndarray a, np.ndarray like)      # a itself, or a copy laid out as the dense `like`
cdef np.ndarray converted(np.ndarray a, int typenum)            # a itself when it has that dtype
cdef Tensor convert(Tensor x, object dtype)                     # the same with gradient
