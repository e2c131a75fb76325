"""Convolution of few input channels: a block of target pixels copies the patch of the source that it sees, padding written out.

In such a band the taps of a kernel row are neighbours, and one long tap takes their place.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn.kernels.conv cimport Axis, Gather, ceil_div, round_up, source_row, taps_of

cdef enum:
    THIN = 16                   # source channels below which a padded patch pays


cdef bint wants_band(const Gather* g) noexcept nogil:
    return (g.planar or g.K < THIN) and taps_of(g) > 0


cdef bint wants_thin(const Gather* g) noexcept nogil:
    """One source channel and few target channels: these would leave lanes empty that neighbouring pixels fill."""
    return g.K == 1 and g.groups == 1 and 2 * g.n <= g.kernels.lanes and g.axis[2].a == 1 and (
        g.axis[2].bstep == 1 or g.axis[2].taps == 1) and taps_of(g) > 0


cdef void make_band(const Gather* g, int64_t pixels, Band* b) noexcept nogil:
    cdef const Axis* x = &g.axis[0]
    b.across = max(1, ceil_div(x[2].count, 2 * pixels))
    b.columns = ceil_div(x[2].count, b.across)
    b.rows = max(1, min(x[1].count, pixels // max(1, b.columns)))
    b.down = max(1, ceil_div(x[1].count, b.rows))
    b.rows = ceil_div(x[1].count, b.down)
    b.height = (b.rows - 1) * x[1].a + (x[1].taps - 1) * x[1].bstep + 1
    b.width = (b.columns - 1) * x[2].a + (x[2].taps - 1) * x[2].bstep + 1
    b.merged = x[2].bstep == 1 or x[2].taps == 1
    b.taps = x[0].taps * x[1].taps * (1 if b.merged else x[2].taps)
    b.K = g.K * (x[2].taps if b.merged else 1)


cdef int64_t band_bytes(const Gather* g, const Band* b) noexcept nogil:
    return round_up(g.axis[0].taps * b.height * b.width * g.K * g.element + TAIL, 64)


cdef void copy_pixels(const Gather* g, int64_t group, int64_t n, int64_t s0, int64_t s1, int64_t s2, int64_t count,
                      char* to) noexcept nogil:
    """`count` source pixels of one row, one group's channels."""
    cdef int64_t C = g.groups * g.K, e = g.element, i, plane
    cdef const char* source = g.source
    if g.planar:
        plane = g.axis[0].source * g.axis[1].source * g.axis[2].source
        source += (n * (C - 1) * plane + group * g.K * plane + source_row(g, n, s0, s1) + s2) * e
        if g.K <= 4:
            g.kernels.interleave(count, g.K, source, plane, to)
        else:
            g.gemm.pack(count, g.K, source, 1, plane, to, g.K)
        return
    source += ((source_row(g, n, s0, s1) + s2) * C + group * g.K) * e
    if C == g.K:
        memcpy(to, source, count * C * e)
        return
    for i in range(count):
        memcpy(to + i * g.K * e, source + i * C * e, g.K * e)


cdef void copy_band(const Gather* g, const Band* b, int64_t group, int64_t n, int64_t j0, int64_t j1, int64_t j2,
                    char* band) noexcept nogil:
    cdef const Axis* x = &g.axis[0]
    cdef int64_t pixel = g.K * g.element, row = b.width * pixel, t0, h, s0, s1, s2, left, right
    s2 = x[2].a * j2 + x[2].b
    left = min(b.width, max(0, -s2))
    right = max(left, min(b.width, x[2].source - s2))
    for t0 in range(x[0].taps):
        s0 = x[0].a * j0 + x[0].b + t0 * x[0].bstep
        for h in range(b.height):
            s1 = x[1].a * j1 + x[1].b + h
            if s0 < 0 or s0 >= x[0].source or s1 < 0 or s1 >= x[1].source:
                memset(band, 0, row)
            else:
                memset(band, 0, left * pixel)
                if right > left:
                    copy_pixels(g, group, n, s0, s1, s2 + left, right - left, band + left * pixel)
                memset(band + right * pixel, 0, (b.width - right) * pixel)
            band += row
    memset(band, 0, TAIL)
