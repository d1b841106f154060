/* CRC-32C (Castagnoli), the checksum of iSCSI and ext4: it finds every flipped
 * bit, and every burst of up to 32, in a tensor's bytes. */
#ifndef CGLOW_IO_CRC32C_H
#define CGLOW_IO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of n bytes that follow those whose checksum is `crc` (0 for
 * none).  Uses the processor's instruction where it has one. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);
/* The checksum without the instruction for it. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t n);

#endif
