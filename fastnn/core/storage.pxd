"""Memory of tensors: 64-byte aligned blocks from a small pool, and the version counter of in-place changes."""
cimport numpy as np

cdef class Storage:
    cdef void* data             # NULL when the memory belongs to somebody else's array
    cdef size_t size_class      # bytes of the block
    cdef long serial            # counts blocks handed out: tells a plan what was made while it recorded
    cdef public long version    # counts in-place changes; shared by all views of the memory

# A block of at least n bytes for a while, without an array around it; `size` is what `release` needs to know.
cdef void* acquire(size_t n, size_t* size) except NULL
cdef void release(void* p, size_t size) noexcept

# C-contiguous, 64-byte aligned; contents undefined.
cdef np.ndarray empty(int ndim, np.npy_intp* shape, int typenum)
cdef np.ndarray empty_like(np.ndarray a)
cdef np.ndarray zeros_like(np.ndarray a)
cdef np.ndarray empty_1d(np.npy_intp n, int typenum)
cdef np.ndarray empty_2d(np.npy_intp n, np.npy_intp m, int typenum)

# Dense: the elements fill their memory without gaps, in some order of the axes (C order, transposed, channels-last ...).
cdef bint is_dense(np.ndarray a)
cdef np.ndarray empty_ordered(int ndim, np.npy_intp* shape, np.npy_intp* order, int typenum)   # axes from the largest stride down
cdef np.ndarray arranged(np.ndarray a)      # a dense array on the same memory that counts as one in the library's order
cdef bint is_arranged(np.ndarray a)     # in an order of axes that the library chose: no view that somebody transposed
# The same shape and, for a dense array, the same memory order; C order otherwise.
cdef np.ndarray empty_dense_like(np.ndarray a)
# Do two arrays have the same shape and strides (so that elementwise work may run in memory order)?
cdef bint same_layout(np.ndarray a, np.ndarray b)

cdef long last_serial()

# The Storage of an array made here (walks views), a fresh one for any other array.
cdef Storage storage_of(np.ndarray a)
