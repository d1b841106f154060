#include "level.h"

#ifdef CGLOW_REFERENCE
static int most_level = 4;
void level_limit(int most) { most_level = most; }
#else
#define most_level 4
#endif

int level_in_use(void) {
#if HAVE_CLONES
  if (most_level >= 4 && __builtin_cpu_supports("x86-64-v4")) return 4;
  if (most_level >= 3 && __builtin_cpu_supports("x86-64-v3")) return 3;
#endif
  return 1;
}

const char *level_name(void) {
  int level = level_in_use();
  return level == 4 ? "AVX-512" : level == 3 ? "AVX2" : "any";
}
