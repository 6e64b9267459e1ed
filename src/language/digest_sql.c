/*
 * digest_sql.c
 *	  SHA-256, of documents and of jobs.
 *
 * Every decision takes the digest of a few hundred bytes.  Where PostgreSQL has OpenSSL
 * it is asked directly: PostgreSQL's own interface has the algorithm looked up for each
 * digest, which takes OpenSSL 3 several times as long as the digest itself.
 */
#include "postgres.h"

#ifdef USE_OPENSSL
#include <openssl/evp.h>
#endif

#include "common/cryptohash.h"
#include "common/sha2.h"

#include "language/document.h"

#ifdef USE_OPENSSL

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define FIND_SHA256() EVP_MD_fetch(NULL, "SHA256", NULL)
#else
#define FIND_SHA256() EVP_sha256()
#endif

/* False where OpenSSL will not. */
static bool
digest_by_openssl(const char *data, int len, uint8 *digest)
{
	static EVP_MD_CTX *context = NULL;
	static const EVP_MD *sha256 = NULL;

	if (context == NULL)
		context = EVP_MD_CTX_new();
	if (sha256 == NULL)
		sha256 = FIND_SHA256();
	return context != NULL && sha256 != NULL &&
		EVP_DigestInit_ex(context, sha256, NULL) == 1 &&
		EVP_DigestUpdate(context, data, len) == 1 &&
		EVP_DigestFinal_ex(context, digest, NULL) == 1;
}

#else

static bool
digest_by_openssl(const char *data, int len, uint8 *digest)
{
	return false;
}

#endif

static bool
digest_by_server(const char *data, int len, uint8 *digest)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	bool		done;

	if (context == NULL)
		return false;
	done = pg_cryptohash_init(context) >= 0 &&
		pg_cryptohash_update(context, (const uint8 *) data, len) >= 0 &&
		pg_cryptohash_final(context, digest, POLICY_DIGEST_LENGTH) >= 0;
	pg_cryptohash_free(context);
	return done;
}

void
policy_digest(const char *data, int len, uint8 *digest)
{
	StaticAssertStmt(POLICY_DIGEST_LENGTH == PG_SHA256_DIGEST_LENGTH,
					 "a digest is a SHA-256");
	if (!digest_by_openssl(data, len, digest) && !digest_by_server(data, len, digest))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256")));
}
