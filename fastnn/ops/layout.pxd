"""Memory order: copies into C order, sums over broadcast axes."""
cimport numpy as np

cdef np.ndarray contiguous(np.ndarray a)                    # a itself when it is in C order
cdef np.ndarray sum_to_shape(np.ndarray g, tuple shape)     # gradient of broadcasting `shape` to g's shape
