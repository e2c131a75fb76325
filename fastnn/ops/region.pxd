"""In-place operations on the tape, also of tensors that share memory."""
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor

# After an in-place operation on x: x becomes output `index` of `node`.  Where x is a view, its base becomes what it was
# with that output in the view's place, and every view of the base takes its gradient to where the base now is.
cdef int adopt(Tensor x, Node node, int index) except -1
cdef int rebase(Tensor x, Node node, list inputs) except -1     # the same for a node that is yet to be linked to its inputs
cdef int check_view(Tensor x) except -1                         # before the operation: may a gradient follow it?
