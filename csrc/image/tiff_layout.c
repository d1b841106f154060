/* What a page of a TIFF file is, and whether it can be read.  Compiled only where libtiff
 * is. */
#include <errno.h>

#include "image/tiff.h"

static bool refuse(const TiffReader *r, const char *what) {
  return image_fail(r->error, ENOTSUP, "TIFF of this kind is not supported: %s", what);
}

/* Colour samples a pixel, 0 when colours of this kind are not read. */
static unsigned colours_of(const TiffReader *r) {
  switch (r->photometric) {
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_PALETTE:
      return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
      return 3;
    case PHOTOMETRIC_SEPARATED:
      return 4;
    default:
      return 0;
  }
}

/* Files without the tag are bilevel as fax machines write them, grey or RGB. */
static uint16_t photometric_of(const TiffReader *r) {
  uint16_t photometric;
  if (TIFFGetField(r->tiff, TIFFTAG_PHOTOMETRIC, &photometric)) return photometric;
  if (r->stored >= 3) return PHOTOMETRIC_RGB;
  bool fax =
      r->compression >= COMPRESSION_CCITTRLE && r->compression <= COMPRESSION_CCITTFAX4;
  return fax ? PHOTOMETRIC_MINISWHITE : PHOTOMETRIC_MINISBLACK;
}

static bool check_samples(TiffReader *r, uint16_t format) {
  bool grey_or_rgb =
      r->photometric == PHOTOMETRIC_RGB || r->photometric == PHOTOMETRIC_MINISBLACK;
  r->header.floating = format == SAMPLEFORMAT_IEEEFP;
  if (r->header.floating)
    return (r->bits == 32 && grey_or_rgb) ||
           refuse(r, "floating-point numbers of 32 bits are, in grey or RGB");
  if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
    return refuse(r, "signed or complex numbers");
  bool few = r->bits == 1 || r->bits == 2 || r->bits == 4;
  bool deep = r->bits == 16 && (grey_or_rgb || r->photometric == PHOTOMETRIC_MINISWHITE);
  if (r->bits != 8 && !few && !deep) return refuse(r, "its number of bits a sample");
  if (r->bits != 8 && colours_of(r) == 4) return refuse(r, "CMYK of other than 8 bits");
  return true;
}

/* What the first sample beyond the colours is.  Beside RGB, viewers take one that the
 * file says nothing of for alpha; libtiff says then that its meaning is unknown. */
static uint16_t kind_of_extra(const TiffReader *r) {
  uint16_t count = 0, *kinds = NULL;
  if (r->extra_unsaid && r->photometric == PHOTOMETRIC_RGB) return EXTRASAMPLE_UNASSALPHA;
  TIFFGetFieldDefaulted(r->tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds);
  return count > 0 ? kinds[0] : EXTRASAMPLE_UNSPECIFIED;
}

/* Samples beyond the colours: one may be alpha; one beside RGB whose meaning is said to
 * be unknown is passed over. */
static bool check_extras(TiffReader *r, unsigned colours) {
  uint16_t kind = kind_of_extra(r);
  if (r->stored == colours) return true;
  if (r->stored < colours) return refuse(r, "too few samples a pixel for its colours");
  bool alpha = kind == EXTRASAMPLE_ASSOCALPHA || kind == EXTRASAMPLE_UNASSALPHA;
  if (r->stored > colours + 1 || r->header.floating || r->by_libtiff || colours == 4 ||
      r->photometric == PHOTOMETRIC_PALETTE || (!alpha && colours == 1))
    return refuse(r, "more samples a pixel than colours and alpha");
  r->premultiplied = kind == EXTRASAMPLE_ASSOCALPHA;
  r->header.channels += alpha;
  return true;
}

/* The best that a compression can do, in bits of samples from one byte; 0 where there is
 * no bound but the picture's. */
static uint64_t most_bits(const TiffReader *r) {
  switch (r->compression) {
    case COMPRESSION_NONE:
      return 8;
    case COMPRESSION_PACKBITS:
      return (uint64_t)64 * 8;
    case COMPRESSION_LZW: /* a code of 9 bits or more for at most 4096 bytes */
      return (uint64_t)4096 * 8;
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
      return (uint64_t)1032 * 8;
    case COMPRESSION_JPEG: /* as in jpeg.c, of 3 samples */
      return (uint64_t)8 * 64 * 3 * 8;
    default:
      return 0;
  }
}

static bool check_size(const TiffReader *r) {
  if (!image_check_sides(r->width, r->height, r->error)) return false;
  uint64_t bits = (uint64_t)r->width * r->height * r->bits * r->stored;
  uint64_t most = r->photometric == PHOTOMETRIC_YCBCR ? 0 : most_bits(r);
  if (most > 0 && bits / most > r->n)
    return image_fail(r->error, EBADMSG,
                      "damaged TIFF: %zu bytes cannot hold %ux%u pixels", r->n,
                      (unsigned)r->width, (unsigned)r->height);
  return true;
}

/* Old programs wrote 8-bit colours as they are, many write them times 256, and those
 * who follow the specification times 257; other maps have 16 bits. */
static void read_map(TiffReader *r) {
  TIFFGetField(r->tiff, TIFFTAG_COLORMAP, &r->map[0], &r->map[1], &r->map[2]);
  bool small = true, times_256 = true, times_257 = true;
  for (int c = 0; c < 3; c++)
    for (size_t i = 0; i < (size_t)1 << r->bits; i++) {
      uint16_t v = r->map[c][i];
      small = small && v < 256;
      times_256 = times_256 && v % 256 == 0;
      times_257 = times_257 && v % 257 == 0;
    }
  bool bytes = small || times_256 || times_257;
  r->map_shift = bytes && !small ? 8 : 0;
  r->header.palette = true;
  r->header.max = bytes || r->raw ? 255 : 65535;
  r->header.channels = r->raw ? 1 : 3;
}

static void read_tags(TiffReader *r, uint16_t *format) {
  uint16_t planar, orientation;
  TIFF *t = r->tiff;
  TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &r->width);
  TIFFGetField(t, TIFFTAG_IMAGELENGTH, &r->height);
  TIFFGetFieldDefaulted(t, TIFFTAG_BITSPERSAMPLE, &r->bits);
  TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLESPERPIXEL, &r->stored);
  TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLEFORMAT, format);
  TIFFGetFieldDefaulted(t, TIFFTAG_COMPRESSION, &r->compression);
  TIFFGetFieldDefaulted(t, TIFFTAG_PLANARCONFIG, &planar);
  TIFFGetFieldDefaulted(t, TIFFTAG_ORIENTATION, &orientation);
  r->separate = planar == PLANARCONFIG_SEPARATE && r->stored > 1;
  r->photometric = photometric_of(r);
  r->header.width = r->width;
  r->header.height = r->height;
  r->header.orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
}

/* JPEG inside turns its own YCbCr into RGB; libtiff does so for the others. */
static void choose_colours(TiffReader *r) {
  if (r->photometric != PHOTOMETRIC_YCBCR) return;
  if (r->compression == COMPRESSION_JPEG && !r->separate && r->bits == 8) {
    TIFFSetField(r->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    r->photometric = PHOTOMETRIC_RGB;
  } else {
    r->by_libtiff = true;
  }
}

static bool check_inks(const TiffReader *r) {
  uint16_t inks;
  TIFFGetFieldDefaulted(r->tiff, TIFFTAG_INKSET, &inks);
  return inks == INKSET_CMYK || refuse(r, "inks other than CMYK");
}

bool tiff_describe(TiffReader *r) {
  uint16_t format = SAMPLEFORMAT_UINT;
  read_tags(r, &format);
  if (!TIFFIsCODECConfigured(r->compression) || r->compression == COMPRESSION_OJPEG)
    return refuse(r, "its compression");
  r->header.lossy =
      r->compression == COMPRESSION_JPEG || r->compression == COMPRESSION_WEBP ||
      r->compression == COMPRESSION_LERC || r->photometric == PHOTOMETRIC_YCBCR;
  choose_colours(r);
  unsigned colours = colours_of(r);
  if (colours == 0)
    return refuse(r, "its colours are neither grey, RGB, YCbCr, CMYK nor a palette");
  if (colours == 4 && !check_inks(r)) return false;
  if (r->by_libtiff && r->bits != 8) return refuse(r, "YCbCr of other than 8 bits");
  r->header.channels = colours == 4 ? 3 : (int)colours;
  if (!check_samples(r, format) || !check_size(r) || !check_extras(r, colours))
    return false;
  r->header.max = r->header.floating ? 1 : (1u << r->bits) - 1;
  if (r->photometric == PHOTOMETRIC_PALETTE) read_map(r);
  return true;
}
