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

/* Store a picture of whole numbers; its size has been checked. */
bool pnm_read_samples(PnmReader *r, const ImageSink *sink);

#endif
