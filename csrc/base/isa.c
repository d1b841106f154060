/* Which instruction set kernels use: the processor's, or less when told so. */
#include "base/isa.h"

#include <string.h>

static const char *const names[] = {
    [ISA_GENERIC] = "any", [ISA_AVX2] = "AVX2", [ISA_AVX512] = "AVX-512"};

static Isa most = ISA_AVX512;

bool isa_limit(const char *name) {
  for (Isa i = ISA_GENERIC; i <= ISA_AVX512; i++)
    if (strcmp(name, names[i]) == 0) {
      most = i;
      return true;
    }
  return false;
}

Isa isa_in_use(void) {
#if HAVE_CLONES
  if (most >= ISA_AVX512 && __builtin_cpu_supports("x86-64-v4")) return ISA_AVX512;
  if (most >= ISA_AVX2 && __builtin_cpu_supports("x86-64-v3")) return ISA_AVX2;
#endif
  return ISA_GENERIC;
}

const char *isa_name(void) { return names[isa_in_use()]; }
