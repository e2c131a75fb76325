/* Rows of recurrent cells: what follows the matrix products of one time step, for one sequence of the batch.
 *
 * H hidden units.  Gates lie gate after gate in torch's order, H values each.  Forward overwrites the sums in `gates` by
 * the activated gates; backward reads those and writes the gradients of the sums. */
#ifndef FN_CELL_H
#define FN_CELL_H

typedef struct fn_cell_table {
    /* h = tanh(gates) or relu(gates): gates is H wide, h may be gates. */
    void (*rnn)(int64_t H, int relu, const void *gates, void *h);
    void (*rnn_gradient)(int64_t H, int relu, const void *h, const void *dh, void *dgates);
    /* gates i f g o: c = f c' + i g, h = o tanh(c) */
    void (*lstm)(int64_t H, void *gates, const void *c_before, void *c, void *h);
    /* dc: in the gradient of c from later steps, out that of c' */
    void (*lstm_gradient)(int64_t H, const void *gates, const void *c_before, const void *c, const void *dh, void *dc,
                          void *dgates);
    /* gates r z n (input side), hidden r z n (hidden side, with its bias): h = (1 - z) n + z h'.  hidden's n part is kept. */
    void (*gru)(int64_t H, void *gates, const void *hidden, const void *h_before, void *h, void *hidden_n);
    /* dgates: gradients of the input-side sums; dhidden of the hidden-side ones; dh: in dh, out its direct part for h' */
    void (*gru_gradient)(int64_t H, const void *gates, const void *hidden_n, const void *h_before, void *dh, void *dgates,
                         void *dhidden);
    void (*add)(int64_t n, const void *x, void *y);     /* y += x */
} fn_cell_table;

#endif
