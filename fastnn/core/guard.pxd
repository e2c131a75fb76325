"""What a plan took for granted about the Python objects around it."""
from cpython.object cimport PyObject

cdef struct Watched:
    PyObject* dict
    Py_ssize_t size

cdef struct Entry:
    PyObject* key
    PyObject* value

cdef class Guard:
    cdef list dicts, lists          # what is watched
    cdef list keys, values          # of all dicts, one after the other: they keep alive what `expected` points to
    cdef list items                 # per list, what it held
    cdef set loose                  # numbers of the entries of which only the truth counts
    cdef Watched* watched           # the dicts again, by borrowed pointers, and how many entries each had
    cdef Py_ssize_t count
    cdef Entry* expected            # keys and values again

    cdef bint holds(self) except -1
