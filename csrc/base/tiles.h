/* May this process use AMX's tiles?  Linux keeps room for their 8 KB in what it saves of a
 * thread for those processes alone that ask; it is asked once. */
#ifndef CGLOW_BASE_TILES_H
#define CGLOW_BASE_TILES_H

#include <stdbool.h>

bool tiles_permitted(void);

#endif
