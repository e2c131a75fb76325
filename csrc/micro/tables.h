/* The struct of every family's table; a new family adds its header here and its line to families.def. */
#include "pointwise.h"
#include "gemm.h"
#include "update.h"
#include "conv.h"
