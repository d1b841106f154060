/* Replays what the fuzzers found their way through the parsers in Lua with, under
 * the same eyes: no error raised, no descriptor left open, no more memory than an
 * input of that size justifies.  (spec/fuzz/fuzz_corpus_spec.lua replays the images.) */
#include "../fuzz/target.h"
#include "runner.h"

static char *read_input(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) return NULL;
  static char bytes[1 << 16];
  *n = fread(bytes, 1, sizeof bytes, f);
  bool whole = *n < sizeof bytes && !ferror(f);
  (void)fclose(f);
  return whole ? bytes : NULL;
}

/* Every file of a corpus; how many there were, or -1 when one went wrong. */
static int replay(Target *t, const char *corpus) {
  DIR *folder = opendir(corpus);
  if (folder == NULL) return -1;
  int count = 0;
  for (struct dirent *e; count >= 0 && (e = readdir(folder)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    char path[512];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s", corpus, e->d_name);
    char *bytes = read_input(path, &n);
    const char *wrong = bytes == NULL ? "cannot be read" : target_run(t, bytes, n);
    if (wrong != NULL) tap_note("%s: %s", path, wrong);
    count = wrong == NULL ? count + 1 : -1;
  }
  closedir(folder);
  return count;
}

static void replay_corpus(const char *name) {
  Target t = {0};
  char corpus[64], folder[FOLDER_SIZE];
  snprintf(corpus, sizeof corpus, "spec/fuzz/corpus/%s", name);
  const char *wrong =
      make_folder(folder) ? target_start(&t, name, folder, open_libraries) : "no folder";
  if (wrong != NULL) tap_note("%s", wrong);
  int count = wrong == NULL ? replay(&t, corpus) : -1;
  tap(count > 10, "%s: %d files of the corpus", name, count);
  if (t.L != NULL) lua_close(t.L);
  tap(t.used == 0, "%s: nothing is left", name);
  remove_folder(folder);
}

int main(void) {
  setenv("OMP_NUM_THREADS", "1", 1);
  replay_corpus("safetensors");
  replay_corpus("config");
  replay_corpus("lists");
  replay_corpus("npy");
  return tap_end();
}
