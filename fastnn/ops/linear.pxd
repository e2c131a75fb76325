cimport numpy as np

from fastnn.core.tensor cimport Tensor

# c = a b (+ bias) on 2-D arrays of any strides; c in C order.
cdef np.ndarray multiply(np.ndarray a, np.ndarray b, np.ndarray bias)
# y = x w' + bias for x of any leading shape.
cdef Tensor linear_tensor(Tensor x, Tensor weight, Tensor bias)
