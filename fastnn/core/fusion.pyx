"""Patterns of neighbouring kernel calls that one call can do: applied to a recording before it becomes a plan.

A fused call computes the same bits as the calls it replaces.  To add a pattern, write a function that looks at calls i and
i + 1 and returns the names it joined (or None), and list it in PATTERNS.  Dropout and updates, which are no neighbours of all
that they are joined with, come afterwards.
"""
from fastnn.core.fusion_convolution cimport norm_into_convolution, sum_into_convolution
from fastnn.core.fusion_dropout cimport batch_norm_gradients_in_place, dropouts_into_batch_norms
from fastnn.core.fusion_relu cimport (
    relu_gradient_into_batch_norm, relu_gradient_into_max_pool, relu_into_batch_norm, relu_into_convolution, relu_into_matmul)
from fastnn.core.fusion_update cimport update_into_statistics, updates_into_products, updates_together
from fastnn.core.recording cimport Recording

ctypedef object (*Pattern)(Recording recording, int i, object kept)

cdef Pattern[8] PATTERNS = [relu_into_matmul, relu_into_convolution, norm_into_convolution, sum_into_convolution,
                            relu_into_batch_norm, relu_gradient_into_batch_norm, relu_gradient_into_max_pool,
                            update_into_statistics]


def fuse(Recording recording, kept, int split):
    """Apply the patterns to neighbours on the same side of `split`; `kept` are buffers that the caller reads afterwards.

    Returns what was joined, in words, and where the split is now.
    """
    cdef int i = 0
    cdef Pattern pattern
    done = []
    while i + 1 < recording.count:
        for pattern in PATTERNS:
            joined = pattern(recording, i, kept) if i + 1 != split else None
            if joined:
                done.append(joined)
                split -= i + 1 < split
                break
        else:
            i += 1              # nothing more to join to this call
    split = dropouts_into_batch_norms(recording, kept, split, done)
    batch_norm_gradients_in_place(recording, kept)
    if split < 0:
        updates_into_products(recording, done)
        updates_together(recording, done)
    return done, split
