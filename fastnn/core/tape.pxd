"""The tape: nodes with backward rules, walked by a loop."""
cimport numpy as np

from fastnn.core.storage cimport Storage

cdef class Node:
    # Arrays the rule needs, under whatever name the rule gives them; cleared after backward.  Never the node's own
    # output tensor, which would be a cycle.
    cdef object a, b, c, d
    cdef object extra
    cdef Storage watched_a, watched_b, watched_c    # in-place changes of what was saved are an error
    cdef long seen_a, seen_b, seen_c
    cdef tuple nodes            # per input: the node that made it (AccumulateGrad for a leaf), None where no gradient
    cdef int* index             # per input: which output of that node; NULL when all are 0
    cdef long sequence          # creation order: a node is always older than its consumers
    cdef long mark              # the backward run that has seen it
    cdef int outputs
    cdef bint freed
    cdef object grads           # gradient of the output (outputs == 1), or a list of them
    cdef bint fresh             # `grads` may be added to in place: no one else holds it
    cdef dict hooks             # output index -> list of functions on its gradient
    cdef object __weakref__

    cdef object backward(self, np.ndarray grad)
    cdef object backward_many(self, list grads)
    cdef object derivative(self, object grad, tuple wanted)     # backward as operations on tensors (core/backward.pyx)
    cdef bint aliases(self)     # does the rule return its argument or a view of it?
    cdef int receive(self, int index, np.ndarray grad, bint fresh) except -1
    cdef int free(self) except -1
    cdef inline bint needs(self, int i):
        return self.nodes[i] is not None

cdef bint grad_enabled() noexcept nogil
cdef void set_grad_enabled(bint on) noexcept nogil
cdef bint inference_enabled() noexcept nogil
cdef void set_inference_enabled(bint on) noexcept nogil
cdef long next_sequence() noexcept

# Walk back from (node, index, gradient) roots.  capture: {(node, index): None}, filled instead of accumulating in
# leaves when accumulate is false.
cdef int run(list roots, bint retain_graph, dict capture, bint accumulate) except -1

# The end of a path: adds what arrives to a tensor's .grad (core/tensor.pyx).
cdef class Leaf(Node):
    cdef int accumulate(self, np.ndarray grad, bint fresh) except -1

cdef int check_saved(Node node) except -1               # raises where what the rule needs is gone or was changed
cdef object changed(Node node)                          # the error of the latter
cdef bint checks_nan() noexcept                         # does a run look for NaN (autograd.detect_anomaly)?
cdef int check_nan(Node node, object found) except -1   # raises where there is one in what a rule gave

# Hooks filled by upper floors at import: this floor knows neither op nor Tensor.
ctypedef object (*array_add)(np.ndarray a, np.ndarray b, bint in_place)
ctypedef object (*array_copy)(np.ndarray a)
cdef int set_array_kernels(array_add add, array_copy copy) except -1
cdef int set_wrapper(object function) except -1
cdef object add(object a, object b, bint in_place)
cdef object copy(object a)
