/* AMX: is it there, and may it be used? */
#include "base/tiles.h"

#include "base/real.h"

/* x86-64 Linux, and a compiler that knows the processor's name for it. */
#if HAVE_CLONES && __GNUC__ >= 11
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of asm/prctl.h, newer than some that are installed. */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

static bool ask(void) {
  return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("x86-64-v4") &&
         syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

bool tiles_permitted(void) {
  static _Atomic int known = -1; /* threads that ask at once get the same answer */
  int answer = atomic_load_explicit(&known, memory_order_relaxed);
  if (answer >= 0) return answer;
  answer = ask();
  atomic_store_explicit(&known, answer, memory_order_relaxed);
  return answer;
}
#else
bool tiles_permitted(void) { return false; }
#endif
