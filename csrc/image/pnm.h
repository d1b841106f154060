/* What the readers of PNM, PAM and PFM share: text headers. */
#ifndef CGLOW_IMAGE_PNM_H
#define CGLOW_IMAGE_PNM_H

#include "image/codec.h"

typedef struct PnmReader {
  const uint8_t *at, *end;
  ImageError *error;
  const char *name; /* of the format, for messages */
  ImageHeader header;
  bool plain; /* samples in decimal */
  bool bits;  /* of black (1) and white */
} PnmReader;

bool pnm_is_space(uint8_t c);
/* Pass over white space and comments, which run from # to the end of the line. */
void pnm_skip_space(PnmReader *r);
/* A number of at most 65535 after white space; `what` names it in messages. */
bool pnm_read_number(PnmReader *r, const char *what, unsigned *out);
/* Are as many bytes left as the samples need? */
bool pnm_check_left(const PnmReader *r, size_t needed);

/* Read what comes before the samples. */
typedef bool PnmStart(PnmReader *r, const uint8_t *bytes, size_t n, ImageError *e);
/* The two functions of a codec whose samples are whole numbers. */
bool pnm_header(PnmStart *start, const uint8_t *bytes, size_t n, ImageHeader *h,
                ImageError *e);
bool pnm_decode(PnmStart *start, const uint8_t *bytes, size_t n, const ImageSink *sink,
                ImageError *e);

#endif
