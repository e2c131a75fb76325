#include "isa.h"
#include <math.h>

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "embedding.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "embedding.inc"

const fn_embedding_table *const FN_TABLE(embedding)[2] = {&embedding_f, &embedding_d};
