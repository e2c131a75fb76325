"""What a compiled step is made from: the kernel calls of one eager run, and where each slot's memory came from."""
cimport numpy as np
from libc.stdint cimport int64_t

from fastnn.core.launch cimport Launch, Recorder

# Where a slot points.
cdef enum Origin:
    ABSENT          # an optional slot left empty
    OUTSIDE         # memory that existed before: parameters, state, constants
    INPUT           # an array handed to the step
    INSIDE          # made during the step

cdef struct Place:
    int origin
    int which               # number of the input, or of the buffer
    int64_t offset          # bytes from its start
    char* pointer           # OUTSIDE

# Per pair of arrays: bytes from one to the other where they share memory, else None.
cdef list overlaps(list arrays)
cdef bint overlap_as(list arrays, list expected)     # is that the same for these?

cdef class Recording(Recorder):
    cdef Launch* calls
    cdef Place* places      # FN_SLOTS per call
    cdef readonly int count
    cdef int capacity
    cdef list inputs        # arrays handed to the step
    cdef readonly list uncaptured
    cdef readonly list buffers      # per INSIDE buffer: [bytes, first call, last call]
    cdef dict buffer_numbers        # serial number of the block -> number
    cdef list starts                # address of each block while the run had it
    cdef dict bound                 # address bound to a slot last -> number of its block, -1 outside
    cdef char* start_of(self, int number) except NULL
    cdef long start

    cdef int locate(self, char* pointer, Place* place, int role) except -1
    cdef int buffer_of(self, np.ndarray array)
    cdef np.ndarray constant(self, char* pointer)
    cdef set addresses_of(self, char* pointer)
