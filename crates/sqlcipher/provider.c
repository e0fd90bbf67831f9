/* SQLCipher and its crypto provider: one translation unit, so that the compiler checks the layout of
 * `sqlcipher_provider`. The functions that it declares are defined in src/lib.rs. */

#include "sqlcipher.c"

int siskin_sqlcipher_random(void *ctx, void *buffer, int length);
int siskin_sqlcipher_hmac(void *ctx, int algorithm, const unsigned char *key, int key_sz,
                          const unsigned char *in, int in_sz, const unsigned char *in2, int in2_sz,
                          unsigned char *out);
int siskin_sqlcipher_kdf(void *ctx, int algorithm, const unsigned char *pass, int pass_sz,
                         const unsigned char *salt, int salt_sz, int workfactor, int key_sz,
                         unsigned char *key);
int siskin_sqlcipher_cipher(void *ctx, int mode, const unsigned char *key, int key_sz,
                            const unsigned char *iv, const unsigned char *in, int in_sz,
                            unsigned char *out);

static const char *name(void *ctx) { return "rustcrypto"; }
static const char *version(void *ctx) { return "1"; }
static const char *cipher(void *ctx) { return "aes-256-cbc"; }
static int key_size(void *ctx) { return 32; }
static int block_size(void *ctx) { return 16; }
static int hmac_size(void *ctx, int algorithm) {
  return algorithm == SQLCIPHER_HMAC_SHA512 ? 64 : 0;
}
/* The operating system's generator needs no entropy from us. */
static int add_random(void *ctx, const void *buffer, int length) { return SQLITE_OK; }
static int context(void **ctx) { return SQLITE_OK; }
static int no_fips(void *ctx) { return 0; }

int siskin_sqlcipher_setup(sqlcipher_provider *p) {
  p->init = NULL;
  p->shutdown = NULL;
  p->get_provider_name = name;
  p->get_provider_version = version;
  p->get_cipher = cipher;
  p->get_key_sz = key_size;
  p->get_iv_sz = block_size;
  p->get_block_sz = block_size;
  p->get_hmac_sz = hmac_size;
  p->ctx_init = context;
  p->ctx_free = context;
  p->fips_status = no_fips;
  p->add_random = add_random;
  p->random = siskin_sqlcipher_random;
  p->hmac = siskin_sqlcipher_hmac;
  p->kdf = siskin_sqlcipher_kdf;
  p->cipher = siskin_sqlcipher_cipher;
  return SQLITE_OK;
}
