# cython: allow_none_for_extension_args=False
"""In-place operations on the tape, also of tensors that share memory.

A view is a region of its base's memory.  Writing y into view v of base b is, for gradients, a new b in which y has taken
the region's place (torch's CopySlices); what was seen through v and other views before is seen in that new b from now on.
"""
cimport cython
cimport numpy as np

import numpy as np

from fastnn.core.launch cimport host_call
from fastnn.core.storage cimport empty_1d
from fastnn.core.tape cimport Node
from fastnn.core.tensor cimport Tensor, link, set_region_rule, wrap
from fastnn.ops.layout cimport copy_into, copy_of, fill

np.import_array()

ZERO = {np.NPY_FLOAT32: np.zeros((), np.float32), np.NPY_FLOAT64: np.zeros((), np.float64)}


@cython.final
cdef class Region:
    """Where a part lies in a base: offsets and strides in bytes from the lowest address of the base."""
    cdef tuple shape, strides, base_shape, base_strides
    cdef Py_ssize_t offset, base_offset, bytes

    def __init__(self, np.ndarray base, np.ndarray part):
        low, high = np.lib.array_utils.byte_bounds(base)
        first, last = np.lib.array_utils.byte_bounds(part)
        if np.PyArray_TYPE(base) != np.PyArray_TYPE(part) or part.size and not low <= first <= last <= high:
            raise RuntimeError("a view was changed, or used after a change, whose base has been given other memory")
        self.shape, self.strides = (<object>part).shape, (<object>part).strides
        self.base_shape, self.base_strides = (<object>base).shape, (<object>base).strides
        self.bytes = high - low
        self.base_offset = <size_t>np.PyArray_DATA(base) - <size_t>low
        self.offset = <size_t>np.PyArray_DATA(part) - <size_t>low if part.size else 0

    cdef np.ndarray memory(self, int typenum):
        """Zeros for all that lies between the ends of the base."""
        cdef np.ndarray flat = empty_1d(self.bytes // np.PyArray_DescrFromType(typenum).itemsize, typenum)
        fill(flat, 0.0)
        return flat

    cdef np.ndarray whole(self, np.ndarray memory):
        return np.ndarray(self.base_shape, (<object>memory).dtype, memory, self.base_offset, self.base_strides)

    cdef np.ndarray part(self, np.ndarray memory):
        return np.ndarray(self.shape, (<object>memory).dtype, memory, self.offset, self.strides)

    cdef bint repeats(self):
        """Can an element of the base be met twice in the part?"""
        cdef Py_ssize_t reach = 0
        for stride, n in sorted(zip([abs(s) for s in self.strides], self.shape)):
            if n > 1:
                if stride <= reach:
                    return True
                reach += stride * (n - 1)
        return False


@cython.final
cdef class AsStridedBackward(Node):
    """Zeros of the base's shape with the gradient added in the region.  d: region."""
    cdef object backward(self, np.ndarray grad):
        cdef Region region = self.d
        cdef np.ndarray memory = region.memory(np.PyArray_TYPE(grad))
        if region.repeats():
            memory = host_call("as_strided_backward", add_in_place_of, (memory, region, grad))
        else:
            copy_into(region.part(memory), grad)
        return region.whole(memory)


def add_in_place_of(np.ndarray memory, Region region, grad):
    """Add to memory at the region, whose elements may be there several times."""
    cdef np.ndarray number = np.arange(np.PyArray_SIZE(memory)), at
    at = np.ndarray(region.shape, np.int64, number, region.offset // memory.itemsize * 8,
                    tuple([s // memory.itemsize * 8 for s in region.strides]))
    np.add.at(memory, at, grad)
    return memory


@cython.final
cdef class CopySlices(Node):
    """Of a base into whose region y was written: the gradient without the region; for y, what was there.  d: region."""
    cdef object backward(self, np.ndarray grad):
        cdef Region region = self.d
        cdef np.ndarray memory = region.memory(np.PyArray_TYPE(grad)), whole = region.whole(memory), part = region.part(memory)
        cdef np.ndarray taken
        copy_into(whole, grad)
        taken = copy_of(part)
        copy_into(part, np.broadcast_to(ZERO[np.PyArray_TYPE(grad)], region.shape))
        return whole, taken


cdef Node read_node(np.ndarray base, np.ndarray part):
    cdef AsStridedBackward node = AsStridedBackward.__new__(AsStridedBackward)
    node.d = Region(base, part)
    return node


cdef int adopt(Tensor x, Node node, int index) except -1:
    cdef Tensor part, base = x if x.base is None else x.base
    cdef Node before = base.node
    cdef int before_index = base.index
    cdef CopySlices write
    if x is not base:
        part = wrap(x.array)
        part.node, part.index = node, index
        write = CopySlices.__new__(CopySlices)
        write.d = Region(base.array, x.array)
        link(write, [base, part])
        node, index = write, 0
    base.node, base.index, base.requires = node, index, False
    base.changes += 1
    if base.retains and before is not None:
        keep_retaining(before, before_index, node, index)
    return 0


cdef int keep_retaining(Node before, int before_index, Node now, int index) except -1:
    """What keeps a tensor's gradient moves on to the tensor's new node; other hooks stay where they were set."""
    hooks = before.hooks.get(before_index, [])
    for hook in [h for h in hooks if getattr(h, "last", False)]:
        hooks.remove(hook)
        if now.hooks is None:
            now.hooks = {}
        now.hooks.setdefault(index, []).append(hook)
    return 0


cdef int rebase(Tensor x, Node node, list inputs) except -1:
    link(node, inputs)
    return adopt(x, node, 0)


cdef int check_view(Tensor x) except -1:
    if x.blind:
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use case is "
            "ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace either "
            "both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you want the inplace "
            "to be tracked).")
    return 0


set_region_rule(read_node)
