"""Memory order: copies into C order, sums over broadcast axes."""
cimport numpy as np

cdef np.ndarray contiguous(np.ndarray a)                    # a itself when it is in C order
cdef np.ndarray copy_of(np.ndarray a)                       # a new array in C order
cdef int copy_into(np.ndarray target, np.ndarray source) except -1      # same shape, dtype and size; any strides
cdef np.ndarray sum_to_shape(np.ndarray g, tuple shape)     # gradient of broadcasting `shape` to g's shape
cdef int fill(np.ndarray a, double value) except -1         # a dense array of float32 or float64
