cimport numpy as np
from libc.stdint cimport int64_t

from fastnn.core.tensor cimport Tensor

# c = a b (+ bias) on 2-D arrays of any strides; c in C order.
cdef np.ndarray multiply(np.ndarray a, np.ndarray b, np.ndarray bias)
# c (+)= a b (+ bias) into an array with contiguous rows.
cdef int product_into(np.ndarray a, np.ndarray b, np.ndarray bias, np.ndarray c, bint accumulate) except -1
# Sums over the rows of an array in C order, seen as (rows, columns).
cdef np.ndarray column_sums(np.ndarray g, int64_t rows, int64_t columns)
# y = x w' + bias for x of any leading shape.
cdef Tensor linear_tensor(Tensor x, Tensor weight, Tensor bias)
