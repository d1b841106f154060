/* Which instruction set kernels use: the processor's, or less when told so. */
#include "base/isa.h"

#include <string.h>

#include "base/tiles.h"

static const char *const names[] = {[ISA_GENERIC] = "any",
                                    [ISA_AVX2] = "AVX2",
                                    [ISA_AVX512] = "AVX-512",
                                    [ISA_BF16] = "AVX512_BF16",
                                    [ISA_AMX] = "AMX"};

static Isa most = ISA_AMX;

bool isa_limit(const char *name) {
  for (Isa i = ISA_GENERIC; i <= ISA_AMX; i++)
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

Isa isa_of_bf16(void) {
#if HAVE_AMX
  if (most >= ISA_AMX && tiles_permitted()) return ISA_AMX;
#endif
#if HAVE_AVX512_BF16
  if (most >= ISA_BF16 && isa_in_use() == ISA_AVX512 &&
      __builtin_cpu_supports("avx512bf16"))
    return ISA_BF16;
#endif
  return isa_in_use();
}

const char *isa_name(void) { return names[isa_in_use()]; }
