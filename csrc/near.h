/* near.h: brings memory that will be needed soon to the second-level cache, while something else is computed. */
#ifndef FN_NEAR_H
#define FN_NEAR_H

#include <stdint.h>

/* `rows` pieces of memory, `stride` bytes from one to the next. */
static inline void fn_bring_near(const void *from, int64_t rows, int64_t stride, int64_t bytes) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < bytes; j += 64) __builtin_prefetch((const char *)from + i * stride + j, 0, 2);
}

#endif
