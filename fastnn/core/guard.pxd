"""What a plan took for granted about the Python objects around it."""
from cpython.object cimport PyObject

cdef class Guard:
    cdef list dicts, lists          # what is watched
    cdef list keys, values          # of all dicts, one after the other: they keep alive what `expected` points to
    cdef list items                 # per list, what it held
    cdef set loose                  # numbers of the entries of which only the truth counts
    cdef PyObject** expected        # key, value, key, value ...
    cdef Py_ssize_t* sizes          # per dict

    cdef bint holds(self) except -1
