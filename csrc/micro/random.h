/* Random numbers.  Philox (csrc/philox.h): draws from group `group` on, a fixed number of elements per group (`per_*`
 * below), the last group in part.  Mersenne twister: torch's stream. */
#ifndef FN_RANDOM_H
#define FN_RANDOM_H

typedef struct fn_random_table {
    int per_group;                      /* elements of uniform, bernoulli, normal per group: 64 float, 32 double */
    int per_group_dropout;              /* 128: an element takes 16 bits */
    void (*uniform)(uint64_t key, uint64_t group, int64_t n, void *y);              /* [0, 1) */
    void (*normal)(uint64_t key, uint64_t group, int64_t n, double mean, double std, void *y);
    int (*bernoulli)(uint64_t key, uint64_t group, int64_t n, const void *p, void *y);  /* nonzero: p outside [0, 1] */
    /* y = a x where kept, 0 x where dropped (NaN stays NaN); then + b where kept, + c where dropped if shift. */
    void (*dropout)(uint64_t key, uint64_t group, int64_t n, double p, double a, const void *x, void *y);
    void (*dropout_shift)(uint64_t key, uint64_t group, int64_t n, double p, double a, double b, double c,
                          const void *x, void *y);
    void (*keep)(uint64_t key, uint64_t group, int64_t n, double p, uint8_t *y);    /* dropout's mask alone */
    /* The same as bits, of whole groups: element i of a group is bit i % 64 of its word i / 64. */
    void (*keep_bits)(uint64_t key, uint64_t group, int64_t groups, double p, uint64_t *bits);
    void (*scale)(int64_t n, double a, double b, const void *x, void *y);           /* y = a x + b */
    void (*twist)(uint32_t *state);                         /* the next 624 words of MT19937 */
    void (*temper)(const uint32_t *state, uint32_t *draws);
    void (*to_uniform)(int64_t n, const uint32_t *draws, double from, double to, void *y);  /* torch's uniform_ */
    void (*to_normal)(int64_t n, double mean, double std, void *y);     /* torch's normal_: uniforms to normals by 16 */
} fn_random_table;

#endif
