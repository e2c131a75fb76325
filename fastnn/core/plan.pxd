"""A replayable step: kernel calls with every pointer resolved."""
cimport numpy as np
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport int64_t

from fastnn.core.guard cimport Guard
from fastnn.kernels.native cimport fn_call

# A slot whose pointer changes from run to run: an input or an output of the step.
cdef struct Patch:
    int call, slot
    int which               # inputs first, then outputs
    int64_t offset

# A tensor of the model, the array it had and whether it required a gradient, by borrowed pointers: Plan keeps them alive.
cdef struct Held:
    PyObject* tensor
    PyObject* array
    bint wanted

cdef class Plan:
    cdef fn_call* calls
    cdef char* memos                # FN_MEMO bytes for every call
    cdef readonly int count
    cdef Patch* patches
    cdef int patch_count
    cdef char** bases               # current pointer of every input and output
    cdef int input_count, output_count
    cdef np.ndarray arena           # buffers by lifetime, then gradients, then scratch
    cdef int64_t buffer_bytes, scratch_bytes
    cdef readonly int threads
    cdef readonly list offsets      # per buffer, where in the arena (-1 for an output)
    cdef readonly list fusions      # what was joined, in words
    cdef list keep                  # arrays outside that the calls point into
    cdef list templates             # per output: (bytes from the start of its block, bytes of that, shape, strides, dtype)
    cdef list whole                 # per output: an array of its shape and dtype if a new C-contiguous array can take its place
    cdef list gradients             # (parameter, its gradient in the arena)
    cdef PyThread_type_lock lock
    cdef public object structure    # of the outputs, for whoever runs the plan
    cdef list expected              # per input: an array whose shape, strides and dtype a batch must have
    cdef list tensors, arrays       # parameters and buffers of the model, and the arrays they had
    cdef Held* held                 # the same again
    cdef int held_count
    cdef Guard guard                # attributes of modules, options and state of the optimizer
    cdef list overlaps              # per pair of inputs: bytes from one to the other where they share memory, else None
    cdef list staging               # run_batches gathers rows here
    cdef int split                  # calls of the first part (forward); all of them when there is one part only
    cdef int first_inputs, first_outputs        # those of the first part come first
    cdef bint begun                 # it ran before
    cdef bint busy                  # the first part ran, the second is outstanding: the arena holds its state
    cdef readonly long progress     # batches done by run_batches

    cdef int take(self) except -1                                   # the lock, signals being looked at meanwhile
    cdef bint fits(self, list given) except -1
    cdef bint as_it_was(self) except -1
    cdef int apply_patches(self) noexcept nogil
    cdef int execute(self, int first, int stop) noexcept nogil       # number of the failed call, -1 for none
    cdef int fit_scratch(self) except -1
    cdef list run_part(self, list inputs, int first, int stop, int first_output, int stop_output)
    cdef int begin(self) except -1
    cdef int raise_failure(self, int call) except -1
