#include "base/isa.h"

#include <string.h>

static const struct {
  int level;
  const char *name;
} levels[] = {{4, "AVX-512"}, {3, "AVX2"}, {1, "any"}};
#define LEVEL_COUNT (sizeof levels / sizeof *levels)

static int most_level = 4;

bool level_limit(const char *most) {
  for (size_t i = 0; i < LEVEL_COUNT; i++)
    if (strcmp(most, levels[i].name) == 0) {
      most_level = levels[i].level;
      return true;
    }
  return false;
}

int level_in_use(void) {
#if HAVE_CLONES
  if (most_level >= 4 && __builtin_cpu_supports("x86-64-v4")) return 4;
  if (most_level >= 3 && __builtin_cpu_supports("x86-64-v3")) return 3;
#endif
  return 1;
}

const char *level_name(void) {
  size_t i = 0;
  while (levels[i].level != level_in_use()) i++;
  return levels[i].name;
}
