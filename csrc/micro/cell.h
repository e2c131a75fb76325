/* Recurrent cells: what follows the matrix products of one time step, for some rows of the batch and some units.
 *
 * Sums come gate after gate in torch's order, n values each; gates kept for backward lie `width` apart, the whole layer's
 * units.  Backward reads those and writes the gradients of the sums.  All strides are in elements. */
#ifndef FN_CELL_H
#define FN_CELL_H

typedef struct fn_cell_rows {
    int64_t M, n, width;        /* rows, units of each row, units of the layer */
    int relu;                   /* RNN: relu in place of tanh */
    void *sums;                 /* of the input side too but for a GRU's `hidden`, which has its own bias; a GRU changes them */
    const void *hidden;
    int64_t rs_sums;
    void *gates;                /* the activated gates, or NULL */
    int64_t rs_gates;
    const void *before;         /* c' of an LSTM, h' of a GRU */
    int64_t rs_before;
    void *state;                /* c of an LSTM, may be `before`; the hidden side of n of a GRU, or NULL */
    int64_t rs_state;
    void *h;
    int64_t rs_h;
    const void *near;           /* of an LSTM: comes to the first-level cache beside the gates */
    int64_t near_lines;         /* of 64 bytes, for each vector of units; rounded up to eights */
} fn_cell_rows;

typedef struct fn_cell_gradient {
    int64_t M, n, width;
    int relu;
    const void *gates;
    int64_t rs_gates;
    const void *before;         /* as in fn_cell_rows */
    int64_t rs_before;
    const void *state;          /* c of an LSTM, hidden n of a GRU, h of an RNN */
    int64_t rs_state;
    const void *more;           /* added to dh first, or NULL */
    int64_t rs_more;
    void *dh, *dc;              /* rows `n` apart; in the gradients of h and c, out that of c' and a GRU's direct one of h' */
    void *dgates;               /* of the sums, rows rs_gates apart */
    void *dhidden;              /* of the hidden side of a GRU's n, rows `width` apart: r and z have those of dgates */
} fn_cell_gradient;

/* sums of one row, weights unpacked: per gate n <= lanes columns of b, gates `width` apart there and in the bias. */
typedef struct fn_cell_sums {
    int gates;                  /* 3 or 4 */
    int64_t n, K, width;
    const void *a, *b;
    int64_t rsb;
    const void *bias;           /* added after the last k, or NULL */
    int load;                   /* go on from `sums` instead of 0 */
    void *sums;
} fn_cell_sums;

/* A whole step of some rows, weights packed: sums = x W_ih + bias + h W_hh, four vectors of columns wide, then the cell on them.
 * That is an LSTM's four gates of one vector of units, or four vectors of an RNN's.  A GRU's are three, with sums of either side. */
typedef struct fn_cell_step {
    fn_cell_rows rows;          /* but for the sums */
    int64_t inputs, width;      /* values of a row of x and of h */
    const void *x, *h;
    int64_t rs_x, rs_h;
    const void *panel;          /* rows of W_ih over those of W_hh */
    const void *bias;           /* or NULL */
    const void *hidden_bias;    /* of a GRU's hidden side */
    const void *near;           /* comes to the second-level cache meanwhile, */
    int64_t near_bytes;         /* or 0 */
} fn_cell_step;

/* c (+)= a times a panel four vectors wide.  Meanwhile what the next step will read and write comes to the second-level cache. */
enum { FN_CELL_REGIONS = 6 };
typedef struct fn_cell_product {
    int64_t M, K;
    const void *a, *panel;
    int64_t rsa;
    void *c;
    int64_t rsc;
    int load;
    const void *near[FN_CELL_REGIONS];
    int64_t near_lines[FN_CELL_REGIONS];    /* of 64 bytes; in all at most K per tile */
} fn_cell_product;

/* One row on its way through a panel of W_hh, which is bound by the reading of it: sums += h W_hh.  In its shadow the input side of
 * steps to come is multiplied: x W_ih and its bias for FN_CELL_AHEAD rows and the columns of some vectors. */
enum { FN_CELL_AHEAD = 8 };
typedef struct fn_cell_stream {
    int vectors;                /* of columns: a row of either panel */
    int load;                   /* go on from `sums` instead of 0 */
    int64_t K, inputs;
    const void *h, *panel;
    const void *bias;           /* added after the last k, or NULL */
    void *sums;
    int64_t first, end;         /* vectors of the input side */
    const void *x, *x_panel;
    int64_t rs_x;
    const void *x_bias;         /* or NULL */
    void *x_sums;
} fn_cell_stream;

typedef struct fn_cell_table {
    int64_t step_rows;          /* at least so many in a step or a product */
    /* h = tanh(sums) or relu(sums) */
    void (*rnn)(const fn_cell_rows *s);
    /* sums i f g o: c = f c' + i g, h = o tanh(c) */
    void (*lstm)(const fn_cell_rows *s);
    /* sums r z n: h = (1 - z) n + z h' */
    void (*gru)(const fn_cell_rows *s);
    void (*rnn_step)(const fn_cell_step *s);
    void (*lstm_step)(const fn_cell_step *s);
    void (*gru_step)(const fn_cell_step *s);
    void (*rnn_gradient)(const fn_cell_gradient *s);
    void (*lstm_gradient)(const fn_cell_gradient *s);
    void (*gru_gradient)(const fn_cell_gradient *s);
    void (*product)(const fn_cell_product *s);
    void (*sums)(const fn_cell_sums *s);
    int (*streams)(int64_t vectors);                    /* is there a stream of so many vectors? */
    void (*stream)(const fn_cell_stream *s);
    void (*add)(int64_t n, const void *x, void *y);     /* y += x */
} fn_cell_table;

#endif
