cdef extern from "fastnn.h" nogil:
    enum:
        FN_LOSS_mse, FN_LOSS_l1, FN_LOSS_smooth_l1, FN_LOSS_huber, FN_LOSS_binary_cross_entropy
        FN_LOSS_binary_cross_entropy_with_logits, FN_LOSS_binary_cross_entropy_with_pos_weight, FN_LOSS_kl_div
        FN_LOSS_kl_div_log_target, FN_LOSS_poisson_nll, FN_LOSS_poisson_nll_rate, FN_LOSS_gaussian_nll
        FN_LOSS_hinge_embedding, FN_LOSS_soft_margin, FN_LOSS_margin_ranking, FN_LOSS_cosine_embedding
        FN_LOSS_triplet_margin, FN_LOSS_triplet_margin_swap, FN_LOSSES

# Reductions, size[0] of every kernel here.
cdef enum: NONE = 0, MEAN = 1, SUM = 2
