/* table.c: gathers the families of one instruction set into its table. */
#include "isa.h"

#define FAMILY(name) extern const fn_##name##_table *const FN_TABLE(name)[2];
#include "families.def"
#undef FAMILY

extern void FN_TABLE(fill)(fn_table *table);
void FN_TABLE(fill)(fn_table *table) {
    table->isa = FN_STRING(FN_ISA);
    table->vector_bytes = FN_VECTOR_BYTES;
#define FAMILY(name) table->name[0] = FN_TABLE(name)[0], table->name[1] = FN_TABLE(name)[1];
#include "families.def"
#undef FAMILY
}
